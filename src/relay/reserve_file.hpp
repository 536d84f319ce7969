#pragma once

#include <filesystem>

namespace pgcascade::relay {

// Room that is kept free on the relay's disk for what must be written before anything can be removed: the
// slots' positions. Of the log keeper's thread.
class ReserveFile {
  public:
    explicit ReserveFile(const std::filesystem::path& directory);

    // Takes the room where there is some and it is not taken yet; else nothing happens.
    void take() noexcept;

    // Gives it back; false where there was none.
    bool release() noexcept;

  private:
    const std::filesystem::path file_;
    bool is_taken_ = false;
};

}  // namespace pgcascade::relay
