#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "protocol/command_lexer.hpp"
#include "protocol/replication_command.hpp"

// Recursive descent over PostgreSQL's replication/repl_gram.y: one member for each of its rules. Keywords are
// taken in any case where only a keyword can stand; where a name can stand too, only those in upper case are
// keywords, as for the server.

namespace pgcascade::protocol {

namespace {

class CommandParser {
  public:
    explicit CommandParser(std::string_view text) : lexer_(text), token_(lexer_.next()) {}

    ReplicationCommand command() {
        ReplicationCommand parsed = any_command();
        take_symbol(';');
        if (token_.kind != Token::Kind::kEnd) fail("the end of the command");
        return parsed;
    }

  private:
    ReplicationCommand any_command() {
        if (take_keyword("identify_system")) return IdentifySystem{};
        if (take_keyword("show")) return Show{.setting = dotted_name("a setting's name")};
        if (take_keyword("timeline_history")) return TimelineHistory{.timeline = timeline()};
        if (take_keyword("read_replication_slot"))
            return ReadReplicationSlot{.slot = dotted_name("a slot's name")};
        if (take_keyword("create_replication_slot")) return create_replication_slot();
        if (take_keyword("drop_replication_slot")) return drop_replication_slot();
        if (take_keyword("alter_replication_slot")) return alter_replication_slot();
        if (take_keyword("start_replication")) return start_replication();
        if (take_keyword("base_backup")) return base_backup();
        if (take_keyword("upload_manifest")) return UploadManifest{};
        fail("a replication command");
    }

    // CREATE_REPLICATION_SLOT slot [TEMPORARY] { PHYSICAL | LOGICAL plugin } [ (options) | bare options ]
    ReplicationCommand create_replication_slot() {
        CreateReplicationSlot create;
        create.slot = identifier("a slot's name");
        create.temporary = take_keyword("temporary");
        if (take_keyword("logical"))
            create.plugin = plugin();
        else if (!take_keyword("physical"))
            fail("PHYSICAL or LOGICAL");
        create.options = at_symbol('(') ? option_list() : bare_slot_options();
        return create;
    }

    // "" is an identifier to the grammar, but names no plugin, and would read as a physical slot here.
    std::string plugin() {
        if (token_.text.empty()) fail("an output plugin's name");
        return identifier("an output plugin's name");
    }

    // DROP_REPLICATION_SLOT slot [WAIT]
    ReplicationCommand drop_replication_slot() {
        DropReplicationSlot drop;
        drop.slot = identifier("a slot's name");
        drop.wait = take_keyword("wait");
        return drop;
    }

    // ALTER_REPLICATION_SLOT slot (options)
    ReplicationCommand alter_replication_slot() {
        AlterReplicationSlot alter;
        alter.slot = identifier("a slot's name");
        alter.options = option_list();
        return alter;
    }

    // START_REPLICATION [SLOT slot] [PHYSICAL] X/X [TIMELINE n]
    // START_REPLICATION SLOT slot LOGICAL X/X [(plugin options)]
    ReplicationCommand start_replication() {
        std::optional<std::string> slot;
        if (take_keyword("slot")) slot = identifier("a slot's name");
        if (slot && take_keyword("logical")) return start_logical_replication(std::move(*slot));

        StartPhysicalReplication start;
        start.slot = std::move(slot);
        const bool physical = take_keyword("physical");
        start.start = position(physical || !start.slot ? "a position such as 0/0"
                                                       : "LOGICAL, PHYSICAL or a position such as 0/0");
        if (take_keyword("timeline")) start.timeline = timeline();
        return start;
    }

    ReplicationCommand start_logical_replication(std::string slot) {
        StartLogicalReplication start;
        start.slot = std::move(slot);
        start.start = position("a position such as 0/0");
        if (!take_symbol('(')) return start;
        do {
            CommandOption option{.name = identifier("an option's name"), .value = {}};
            if (token_.kind == Token::Kind::kString) option.value = take_text();
            start.options.push_back(std::move(option));
        } while (take_symbol(','));
        expect_symbol(')');
        return start;
    }

    // BASE_BACKUP [ (options) | bare options ]
    ReplicationCommand base_backup() {
        return BaseBackup{.options = at_symbol('(') ? option_list() : bare_backup_options()};
    }

    // '(' option [ , … ] ')'
    std::vector<CommandOption> option_list() {
        expect_symbol('(');
        std::vector<CommandOption> options;
        do {
            options.push_back(option());
        } while (take_symbol(','));
        expect_symbol(')');
        return options;
    }

    // name [ name | 'text' | number ]. Here even a keyword can be a name, but not a value.
    CommandOption option() {
        if (!at_name()) fail("an option's name");
        CommandOption option{.name = take_text(), .value = {}};
        if (token_.kind == Token::Kind::kString || token_.kind == Token::Kind::kNumber || at_identifier())
            option.value = take_text();
        return option;
    }

    // As clients up to 14 send them, and servers up to 18 still take them.
    std::vector<CommandOption> bare_slot_options() {
        std::vector<CommandOption> options;
        for (;;) {
            if (take_keyword("export_snapshot"))
                options.push_back({"snapshot", "export"});
            else if (take_keyword("noexport_snapshot"))
                options.push_back({"snapshot", "nothing"});
            else if (take_keyword("use_snapshot"))
                options.push_back({"snapshot", "use"});
            else if (take_keyword("reserve_wal"))
                options.push_back({"reserve_wal", std::nullopt});
            else if (take_keyword("two_phase"))
                options.push_back({"two_phase", std::nullopt});
            else
                return options;
        }
    }

    // As clients up to 14 send them; servers from 15 on refuse them.
    std::vector<CommandOption> bare_backup_options() {
        std::vector<CommandOption> options;
        for (;;) {
            if (take_keyword("fast"))
                options.push_back({"checkpoint", "fast"});
            else if (take_keyword("nowait"))
                options.push_back({"wait", "0"});
            else if (take_keyword("noverify_checksums"))
                options.push_back({"verify_checksums", "0"});
            else if (at_keyword("progress") || at_keyword("wal") || at_keyword("tablespace_map"))
                options.push_back({take_text(), std::nullopt});
            else if (at_keyword("label") || at_keyword("manifest") || at_keyword("manifest_checksums"))
                options.push_back(bare_option(Token::Kind::kString, "a quoted text"));
            else if (at_keyword("max_rate"))
                options.push_back(bare_option(Token::Kind::kNumber, "a number"));
            else
                return options;
        }
    }

    CommandOption bare_option(Token::Kind kind, std::string_view wanted) {
        CommandOption option{.name = take_text(), .value = {}};
        if (token_.kind != kind) fail(wanted);
        option.value = take_text();
        return option;
    }

    std::string identifier(std::string_view wanted) {
        if (!at_identifier()) fail(wanted);
        return take_text();
    }

    // name [ . name … ]
    std::string dotted_name(std::string_view wanted) {
        std::string name = identifier(wanted);
        while (take_symbol('.')) name += "." + identifier(wanted);
        return name;
    }

    Lsn position(std::string_view wanted) {
        if (token_.kind != Token::Kind::kLsn) fail(wanted);
        return std::exchange(token_, lexer_.next()).lsn;
    }

    TimelineId timeline() {
        if (token_.kind != Token::Kind::kNumber) fail("a timeline's number");
        if (token_.number == 0) throw ProtocolError("invalid timeline 0", "timelines count from 1");
        return TimelineId{std::exchange(token_, lexer_.next()).number};
    }

    bool at_name() const {
        return token_.kind == Token::Kind::kWord || token_.kind == Token::Kind::kQuotedIdentifier;
    }
    bool at_identifier() const {
        return token_.kind == Token::Kind::kQuotedIdentifier ||
               (token_.kind == Token::Kind::kWord && !is_reserved(token_.source));
    }
    bool at_keyword(std::string_view lower_case) const {
        return token_.kind == Token::Kind::kWord && token_.text == lower_case;
    }
    bool at_symbol(char symbol) const {
        return token_.kind == Token::Kind::kSymbol && token_.source.front() == symbol;
    }

    bool take_keyword(std::string_view lower_case) {
        if (!at_keyword(lower_case)) return false;
        token_ = lexer_.next();
        return true;
    }
    bool take_symbol(char symbol) {
        if (!at_symbol(symbol)) return false;
        token_ = lexer_.next();
        return true;
    }
    std::string take_text() { return std::exchange(token_, lexer_.next()).text; }

    void expect_symbol(char symbol) {
        if (!take_symbol(symbol)) fail(std::string_view(&symbol, 1));
    }

    [[noreturn]] void fail(std::string_view wanted) const {
        const std::string place = token_.kind == Token::Kind::kEnd
                                      ? "at the end of the command"
                                      : fmt::format("at or near {}", token_.source);
        throw ProtocolError("syntax error", fmt::format("{}: expected is {}", place, wanted));
    }

    CommandLexer lexer_;
    Token token_;  // the next one
};

bool starts_command(std::string_view lower_case) {
    static constexpr std::array<std::string_view, 10> kCommands = {"identify_system",
                                                                   "show",
                                                                   "timeline_history",
                                                                   "read_replication_slot",
                                                                   "create_replication_slot",
                                                                   "drop_replication_slot",
                                                                   "alter_replication_slot",
                                                                   "start_replication",
                                                                   "base_backup",
                                                                   "upload_manifest"};
    return std::find(kCommands.begin(), kCommands.end(), lower_case) != kCommands.end();
}

}  // namespace

ReplicationCommand parse_command(std::string_view text) {
    // No more than the first word may be looked at before it is known that this is no SQL, which has other
    // tokens.
    const Token word = leading_word(text);
    if (!starts_command(word.text)) return Sql{.text = std::string(text)};
    if (is_reserved(word.source)) return CommandParser(text).command();
    // To the server this is SQL, so it may well be: "show time zone".
    try {
        return CommandParser(text).command();
    } catch (const ProtocolError&) {
        return Sql{.text = std::string(text)};
    }
}

}  // namespace pgcascade::protocol
