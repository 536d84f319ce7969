#pragma once

#include <chrono>

#include <pgcascade/format.hpp>
#include <pgcascade/stream.hpp>

#include "stream/output.hpp"

namespace pgcascade {

struct DeliveryOptions {
    // A file is fsynced this often while changes keep coming: one fsync for all that was written meanwhile.
    std::chrono::milliseconds sync_interval{200};
    int stop_fd = -1;
};

// Writes the changes of a stream (with Confirm::kManual) to an output until the stream ends or a stop is
// asked for. A transaction is confirmed once its last line is out: written, or, in a file, fsynced. What is
// in hand is written as soon as nothing more has arrived. Throws what the stream, the formatter and the
// output throw; what was out by then is confirmed in every case.
void deliver(ChangeStream& stream, Formatter& formatter, Output& output, const DeliveryOptions& options);

}  // namespace pgcascade
