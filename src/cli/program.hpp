#pragma once

namespace pgcascade::cli {

// The whole program: parses, runs one subcommand, reports its error, returns the exit status.
int run_program(int argc, char** argv);

}  // namespace pgcascade::cli
