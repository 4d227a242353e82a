import Glibc
import Primitives
import Synchronization

/// `TZ` belongs to the whole process.
private let environment = Mutex(())

/// What clocks of a zone show, told by the C library: `2026-03-29 03:00`.
func localTime(_ instant: Timestamp, _ zone: String) -> String {
    environment.withLock { _ in
        setenv("TZ", zone, 1)
        tzset()
        var seconds = time_t(instant.microseconds / 1_000_000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        func padded(_ number: Int32) -> String { (number < 10 ? "0" : "") + String(number) }
        return "\(parts.tm_year + 1900)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday)) "
            + "\(padded(parts.tm_hour)):\(padded(parts.tm_min))"
    }
}
