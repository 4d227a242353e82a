#pragma once
#include <microhttpd.h>

// Swift cannot call C variadics, and MHD_start_daemon takes its options so.

/// What a daemon is started with; see the manual for MHD_OPTION_… of these names.
struct outrider_daemon_options {
    int listen_socket;
    unsigned int threads;
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

static inline struct MHD_Daemon *outrider_start_daemon(const struct outrider_daemon_options *options) {
    // A pool of one is refused: a single thread is what a daemon without a pool has.
    struct MHD_OptionItem pool[] = {
        {options->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, options->threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, options->handler, options->context,
        MHD_OPTION_LISTEN_SOCKET, options->listen_socket,
        MHD_OPTION_CONNECTION_LIMIT, options->connection_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, options->connection_timeout,
        MHD_OPTION_NOTIFY_COMPLETED, options->completed, options->context,
        MHD_OPTION_UNESCAPE_CALLBACK, &outrider_leave_escaped, NULL,
        // Refuses HTTP/1.1 without Host (RFC 9112, section 3.2) and other things that only an attack or a mistake sends.
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, pool,
        MHD_OPTION_END);
}

/// Valid as long as the connection.
static inline const struct sockaddr *outrider_client_address(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}
