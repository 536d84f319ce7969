#pragma once

// What systemd is told by a service of Type=notify: one datagram to the socket that NOTIFY_SOCKET names.
// Nothing happens where it names none. A failure is a warning: the service itself can go on. Any thread.
// Source: sd_notify(3).

namespace pgcascade::service_manager {

void tell_ready();      // it serves; also after tell_reloading()
void tell_reloading();  // its configuration
void tell_stopping();

}  // namespace pgcascade::service_manager
