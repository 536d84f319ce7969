#pragma once

#include <type_traits>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace pgcascade::relay {

// Runs what waits for a disk or a server on a thread that may, while the event loop goes on; gives what it
// returned or threw. `work` has a name, as has everything in this folder that owns something and is used in a
// co_await: GCC 12 destroys such temporaries twice.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> run_blocking(boost::asio::thread_pool& threads,
                                                                 Work& work) {
    const auto task = [&work]() -> boost::asio::awaitable<std::invoke_result_t<Work&>> { co_return work(); };
    co_return co_await boost::asio::co_spawn(threads, task, boost::asio::use_awaitable);
}

}  // namespace pgcascade::relay
