#pragma once
#include <microhttpd.h>
// Swift's Glibc module leaves it out.
#include <sys/eventfd.h>

// Swift cannot call C variadics, and MHD_start_daemon takes its options so.

/// What a daemon is started with; see the manual for MHD_OPTION_… of these names.
struct outrider_daemon_options {
    int listen_socket;
    unsigned int connection_limit;
    /// Seconds without a byte after which a connection is closed.
    unsigned int connection_timeout;
    MHD_AccessHandlerCallback handler;
    MHD_RequestCompletedCallback completed;
    /// Handed to both callbacks.
    void *context;
};

// We decode paths and queries ourselves, to refuse what is malformed and to keep "%2F" apart from "/".
static inline size_t outrider_leave_escaped(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    size_t length = 0;
    while (text[length] != 0) length += 1;
    return length;
}

/// A daemon without a thread, to be driven by MHD_run.
static inline struct MHD_Daemon *outrider_start_daemon(const struct outrider_daemon_options *options) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, options->handler, options->context,
        MHD_OPTION_LISTEN_SOCKET, options->listen_socket,
        MHD_OPTION_CONNECTION_LIMIT, options->connection_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, options->connection_timeout,
        MHD_OPTION_NOTIFY_COMPLETED, options->completed, options->context,
        MHD_OPTION_UNESCAPE_CALLBACK, &outrider_leave_escaped, NULL,
        // Refuses HTTP/1.1 without Host (RFC 9112, section 3.2) and other things that only an attack or a mistake sends.
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
}

/// Readable when there is something for MHD_run to do.
static inline int outrider_daemon_epoll(struct MHD_Daemon *daemon) {
    return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

/// Valid as long as the connection.
static inline const struct sockaddr *outrider_client_address(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}
