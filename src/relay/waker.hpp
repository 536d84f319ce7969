#pragma once

#include "base/file.hpp"

namespace pgcascade::relay {

// A descriptor that poll(2) finds readable once somebody has called wake(), until clear(). wake() by any
// thread. Source: eventfd(2).
class Waker {
  public:
    Waker();

    int fd() const { return fd_.get(); }
    void wake() const;
    void clear() const;

  private:
    FileDescriptor fd_;
};

}  // namespace pgcascade::relay
