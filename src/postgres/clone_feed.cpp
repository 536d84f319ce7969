#include "postgres/clone_feed.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/quantity.hpp"

namespace pgcascade::postgres {

namespace {

constexpr const char* kAgainHint =
    "mend that, then run the same command again: it clears the unfinished clone first";
constexpr const char* kFullHint =
    "free room on that file system, then run the same command again: it clears the unfinished clone first";

// What failed, as an Error whatever it was.
Error as_error(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const SystemError& problem) {
        const bool is_full = problem.error_number() == ENOSPC || problem.error_number() == EDQUOT;
        return Error{problem.what(), is_full ? kFullHint : problem.hint()};
    } catch (const Error& problem) {
        return problem;
    } catch (const std::exception& problem) {
        return Error{problem.what()};
    }
}

}  // namespace

CloneFeed::CloneFeed(std::vector<std::unique_ptr<TargetDirectory>> targets, std::uint64_t total_bytes,
                     int stop_fd)
    : total_bytes_(total_bytes), stop_fd_(stop_fd) {
    for (auto& directory : targets) {
        auto writer = std::make_unique<CloneWriter>(*directory);
        branches_.push_back({std::move(directory), std::move(writer), nullptr, false});
    }
}

CloneBatch& CloneFeed::batch() {
    if (batch_ && batch_->is_full()) push();
    if (!batch_) batch_ = pool_.take(stop_fd_);
    return *batch_;
}

void CloneFeed::add(CloneStep step) {
    batch().add(std::move(step));
}

void CloneFeed::make_directory(std::size_t root, std::string path, mode_t mode) {
    add({.kind = CloneStep::Kind::kMakeDirectory, .root = root, .path = std::move(path), .mode = mode});
}

void CloneFeed::make_tablespace_link(std::string path, std::size_t tablespace) {
    add({.kind = CloneStep::Kind::kMakeTablespaceLink, .root = tablespace, .path = std::move(path)});
}

void CloneFeed::begin_file(std::size_t root, std::string path, mode_t mode, std::uint64_t bytes) {
    add({.kind = CloneStep::Kind::kBeginFile,
         .root = root,
         .path = std::move(path),
         .mode = mode,
         .bytes = bytes});
    batch().align();
}

void CloneFeed::write(std::string_view bytes) {
    while (!bytes.empty()) bytes.remove_prefix(batch().add_bytes(bytes));
}

void CloneFeed::end_file() {
    add({.kind = CloneStep::Kind::kEndFile});
}

void CloneFeed::push() {
    const std::shared_ptr<const CloneBatch> full = std::exchange(batch_, nullptr);
    for (Branch& branch : branches_)
        if (!branch.failure) branch.writer->push(full);
    notice_failures();
}

void CloneFeed::notice_failures() {
    bool any_left = false;
    for (Branch& branch : branches_) {
        const bool is_news = !branch.failure && branch.writer->has_failed();
        if (is_news) branch.failure = branch.writer->failure();
        any_left = any_left || !branch.failure;
        if (is_news && branches_.size() > 1) diagnostics::warning(describe(branch));
    }
    if (!any_left) throw_failures();
}

void CloneFeed::complete() {
    if (batch_) push();
    for (Branch& branch : branches_) branch.writer->finish(stop_fd_);
    notice_failures();
    for (Branch& branch : branches_)
        if (!branch.failure) complete(branch);
    const auto failed = [](const Branch& branch) { return branch.failure != nullptr; };
    if (std::any_of(branches_.begin(), branches_.end(), failed)) throw_failures();
}

void CloneFeed::complete(Branch& branch) {
    try {
        branch.directory->complete();
        branch.is_complete = true;
    } catch (const Stopped&) {
        throw;
    } catch (...) {
        branch.failure = std::current_exception();
    }
}

std::string CloneFeed::describe(const Branch& branch) const {
    return fmt::format("the clone into {} failed after {} of {}: {}",
                       branch.directory->target().data_directory.string(),
                       format_bytes(branch.directory->written_bytes()), format_bytes(total_bytes_),
                       as_error(branch.failure).what());
}

void CloneFeed::throw_failures() const {
    std::string what;
    std::string hint;
    std::string whole;
    for (const Branch& branch : branches_) {
        if (branch.is_complete) whole += " " + branch.directory->target().data_directory.string();
        if (!branch.failure) continue;
        if (what.empty()) hint = as_error(branch.failure).hint();
        what += (what.empty() ? "" : "; ") + describe(branch);
    }
    if (!whole.empty()) what += "; whole are:" + whole;
    throw SystemError(what, 0, hint.empty() ? kAgainHint : hint);
}

}  // namespace pgcascade::postgres
