internal import Primitives

/// Counts the lines of each event in each second.
struct LogLimiter {
    private struct Window {
        var second: Int64
        var written = 0
        var suppressed = 0
    }

    private var windows: [String: Window] = [:]

    /// Nil when the line is one too many, else how many were left out since the last that was written.
    mutating func admit(_ event: String, at now: Timestamp, limit: Int) -> Int? {
        let second = now.microseconds / 1_000_000
        var window = windows[event] ?? Window(second: second)
        defer { windows[event] = window }
        if window.second != second {
            window.second = second
            window.written = 0
        }
        guard window.written < limit else {
            window.suppressed += 1
            return nil
        }
        defer { window.suppressed = 0 }
        window.written += 1
        return window.suppressed
    }
}
