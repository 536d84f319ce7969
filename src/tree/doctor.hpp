#pragma once

#include <string>
#include <vector>

#include "tree/survey.hpp"

// What on these servers would make the road from the primary's commit to a consumer at a leaf fail, now or
// one day. Each finding says what is wrong, why it matters, and the exact command or setting that mends it.

namespace pgcascade::tree {

struct Finding {
    enum class Severity {
        kProblem,  // something fails or will
        kAdvice,   // nothing here fails by it
    };
    Severity severity = Severity::kProblem;
    std::string check;   // a stable name, for programs
    std::string server;  // where; its name in the survey
    std::string what;
    std::string why;
    std::string mend;
};

// In the order of the survey's servers. Asks nobody.
std::vector<Finding> diagnose(const Survey& survey);

}  // namespace pgcascade::tree
