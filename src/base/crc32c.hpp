#pragma once

#include <cstdint>
#include <string_view>

namespace pgcascade {

// CRC-32C (Castagnoli), the checksum of PostgreSQL's WAL and backup manifests (port/pg_crc32c.h). Uses the
// processor's instruction where there is one (SSE 4.2), a table otherwise.
class Crc32c {
  public:
    void update(std::string_view bytes);
    std::uint32_t value() const { return ~state_; }

  private:
    std::uint32_t state_ = ~std::uint32_t{0};
};

inline std::uint32_t crc32c(std::string_view bytes) {
    Crc32c crc;
    crc.update(bytes);
    return crc.value();
}

// One step of the table's way, which update() takes where the processor has no instruction.
std::uint32_t extend_crc32c_by_table(std::uint32_t state, std::string_view bytes);

}  // namespace pgcascade
