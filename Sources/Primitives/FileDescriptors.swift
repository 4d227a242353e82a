internal import Glibc

/// How many files and sockets this process may have open.
package enum FileDescriptors {
    /// Raises the limit as far as the process may: many systems begin with 1,024, which suits programs that use select(2).
    /// - Returns: the limit now in force.
    @discardableResult
    package static func raiseLimit() -> Int {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(resource, &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur)
    }
}
