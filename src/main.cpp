#include "cli/program.hpp"

int main(int argc, char** argv) {
    return pgcascade::cli::run_program(argc, argv);
}
