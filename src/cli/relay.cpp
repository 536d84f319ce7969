#include "relay/relay.hpp"

#include <iostream>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "cli/command.hpp"
#include "relay/relay_file.hpp"
#include "relay/write_user.hpp"

// pgcascade relay [relay.toml]; its subcommand status is in cli/relay_status

namespace pgcascade::cli {

namespace {

struct RelayArguments {
    std::shared_ptr<std::string> file = std::make_shared<std::string>("relay.toml");
    std::string new_user;
};

// What is typed while it lives is not shown. Nothing where standard input is no terminal.
class HiddenInput {
  public:
    HiddenInput() : is_terminal_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
        termios hidden = before_;
        hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        if (is_terminal_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    ~HiddenInput() {
        if (is_terminal_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    }
    HiddenInput(const HiddenInput&) = delete;
    HiddenInput& operator=(const HiddenInput&) = delete;

    bool is_terminal() const { return is_terminal_; }

  private:
    termios before_{};
    bool is_terminal_;
};

std::string ask(const std::string& prompt, const Invocation& invocation, const HiddenInput& input) {
    if (input.is_terminal()) std::cerr << prompt << ": " << std::flush;
    wait_for(STDIN_FILENO, POLLIN, -1, invocation.stop.fd());
    std::string line;
    const bool has_line = static_cast<bool>(std::getline(std::cin, line));
    if (input.is_terminal()) std::cerr << '\n';
    if (!has_line) throw Error("standard input ended before there was a password");
    return line;
}

void add_user(const RelayArguments& arguments, const Invocation& invocation) {
    const relay::RelayConfig config = relay::read_relay_file(*arguments.file);
    if (!config.users)
        throw ConfigError(*arguments.file + " names no users file", "add users = \"users.toml\" to [relay]");
    std::string password;
    {
        const HiddenInput input;
        password = ask("password of " + arguments.new_user, invocation, input);
        if (input.is_terminal() && ask("once more", invocation, input) != password)
            throw Error("these were two different passwords");
    }
    relay::write_user(*config.users, arguments.new_user, password);
    diagnostics::info(fmt::format("user \"{}\" is in {}; a relay that runs reads it on SIGHUP",
                                  arguments.new_user, config.users->string()));
}

void run(const RelayArguments& arguments, Invocation& invocation) {
    if (!arguments.new_user.empty()) return add_user(arguments, invocation);
    const FileDescriptor hangup = invocation.stop.release_hangup();
    relay::run_relay({.file = *arguments.file, .stop_fd = invocation.stop.fd(), .reload_fd = hangup.get()});
}

}  // namespace

void add_relay_command(CLI::App& app, Invocation& invocation) {
    auto arguments = std::make_shared<RelayArguments>();
    CLI::App* command = app.add_subcommand("relay",
                                           "Take WAL and changes from an upstream once, and serve any number "
                                           "of standbys and subscribers from them");
    command->add_option("file", *arguments->file, "The relay's file")->capture_default_str();
    command
        ->add_option(
            "--new-user", arguments->new_user,
            "Add a user to the relay's users file, or give one a new password, which is asked for, or "
            "read from standard input; then end")
        ->option_text("NAME");
    command->footer(
        "Runs in the foreground. SIGTERM and Ctrl-C end it in good order; SIGHUP reads the users and the\n"
        "certificates anew.");
    add_relay_status_command(*command, arguments->file, invocation);
    command->callback([arguments, command, &invocation] {
        if (command->get_subcommands().empty()) run(*arguments, invocation);
    });
}

}  // namespace pgcascade::cli
