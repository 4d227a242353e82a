internal import Glibc
package import Primitives
internal import Synchronization

/// Events, one a line, for people (`text`) or machines (`json`).
///
///     log.warning("delivery.dead_lettered", ["message": id, "subscription": name])
///
/// Events are named `subject.what_happened`. Fields are written in the order given, those that are nil are left out. Line
/// breaks and control characters in values are escaped, so that no value can forge a line or move a terminal's cursor.
package final class Log: Sendable {
    package enum Level: Int, Sendable, Comparable, CaseIterable {
        case debug, info, warning, error

        package static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    package enum Format: String, Sendable, CaseIterable {
        case text, json
    }

    package typealias Fields = KeyValuePairs<String, any LogRepresentable>

    private let level: Level
    private let format: Format
    private let now: @Sendable () -> Timestamp
    private let sink: @Sendable ([UInt8]) -> Void
    private let limiter = Mutex(LogLimiter())

    /// - Parameters:
    ///   - level: events below it are dropped, without evaluating their fields.
    ///   - sink: gets each line with its line break; standard error by default.
    package init(
        level: Level = .info,
        format: Format = .text,
        now: @escaping @Sendable () -> Timestamp = { .now() },
        sink: @escaping @Sendable ([UInt8]) -> Void = writeToStandardError
    ) {
        self.level = level
        self.format = format
        self.now = now
        self.sink = sink
    }

    package func debug(_ event: String, _ fields: @autoclosure () -> Fields = [:]) {
        write(.debug, event, limit: nil, fields)
    }

    package func info(_ event: String, _ fields: @autoclosure () -> Fields = [:]) {
        write(.info, event, limit: nil, fields)
    }

    /// With a limit, at most so many lines of this event are written in a second; the next line that is written afterwards
    /// tells how many were left out, as `suppressed`.
    package func warning(_ event: String, _ fields: @autoclosure () -> Fields = [:], limitPerSecond: Int? = nil) {
        write(.warning, event, limit: limitPerSecond, fields)
    }

    package func error(_ event: String, _ fields: @autoclosure () -> Fields = [:], limitPerSecond: Int? = nil) {
        write(.error, event, limit: limitPerSecond, fields)
    }

    private func write(_ level: Level, _ event: String, limit: Int?, _ fields: () -> Fields) {
        guard level >= self.level else { return }
        let now = now()
        var suppressed = 0
        if let limit {
            guard let left = limiter.withLock({ $0.admit(event, at: now, limit: limit) }) else { return }
            suppressed = left
        }
        var line = LogLine(format, level, event, at: now)
        for (name, value) in fields() { line.add(name, value.logValue) }
        if suppressed > 0 { line.add("suppressed", suppressed.logValue) }
        sink(line.finished())
    }
}

/// One write for a whole line, so that lines of several threads or processes do not mix. When nobody can take it, it is lost:
/// a log must not stop the work.
@Sendable
package func writeToStandardError(_ line: [UInt8]) {
    line.withUnsafeBytes { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(STDERR_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if errno != EINTR {
                return
            }
        }
    }
}
