package import Primitives

/// How a value appears in the log.
package enum LogValue: Sendable, Equatable {
    case text(String)
    /// Digits and signs; bare in JSON too.
    case number(String)
    case bool(Bool)
    /// Leaves its field out.
    case absent
}

/// What may be a field of a log line. Payloads and headers are none, on purpose.
package protocol LogRepresentable {
    var logValue: LogValue { get }
}

extension String: LogRepresentable {
    package var logValue: LogValue { .text(self) }
}

extension Bool: LogRepresentable {
    package var logValue: LogValue { .bool(self) }
}

extension Int: LogRepresentable {
    package var logValue: LogValue { .number(String(self)) }
}

extension Int64: LogRepresentable {
    package var logValue: LogValue { .number(String(self)) }
}

extension UInt64: LogRepresentable {
    package var logValue: LogValue { .number(String(self)) }
}

extension Double: LogRepresentable {
    /// JSON has no infinity.
    package var logValue: LogValue { isFinite ? .number("\(self)") : .text("\(self)") }
}

extension Duration: LogRepresentable {
    package var logValue: LogValue { .text(text) }
}

extension UUID: LogRepresentable {
    package var logValue: LogValue { .text(description) }
}

extension Timestamp: LogRepresentable {
    package var logValue: LogValue { .text(rfc3339) }
}

extension Secret: LogRepresentable {
    package var logValue: LogValue { .text(description) }
}

extension Optional: LogRepresentable where Wrapped: LogRepresentable {
    package var logValue: LogValue { self?.logValue ?? .absent }
}
