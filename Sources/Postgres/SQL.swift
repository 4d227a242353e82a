/// A statement. Interpolated values become parameters; they never become part of the text.
///
///     try connection.query("delete from jobs where id = \(id) and \(condition)")
///
/// Interpolating another `SQL` puts it in with its parameters. `unsafeSQL:` puts text in as it is.
package struct SQL: ExpressibleByStringInterpolation, Sendable {
    enum Segment: Sendable {
        case text(String)
        case parameter(Parameter)
    }

    private(set) var segments: [Segment]

    package init(stringLiteral text: String) {
        segments = [.text(text)]
    }

    package init(stringInterpolation: StringInterpolation) {
        segments = stringInterpolation.segments
    }

    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate(set) var segments: [Segment] = []

        package init(literalCapacity: Int, interpolationCount: Int) {
            segments.reserveCapacity(interpolationCount * 2 + 1)
        }

        package mutating func appendLiteral(_ literal: String) {
            if !literal.isEmpty { segments.append(.text(literal)) }
        }

        package mutating func appendInterpolation(_ value: some PostgresEncodable) {
            segments.append(.parameter(Parameter(value)))
        }

        package mutating func appendInterpolation(_ value: (some PostgresEncodable)?) {
            segments.append(.parameter(Parameter(value)))
        }

        package mutating func appendInterpolation(_ statement: SQL) {
            segments += statement.segments
        }

        package mutating func appendInterpolation(unsafeSQL text: String) {
            segments.append(.text(text))
        }
    }

    /// The text with `$1`, `$2`, … and what they stand for.
    func rendered() -> (text: String, parameters: [Parameter]) {
        var text = ""
        var parameters: [Parameter] = []
        for segment in segments {
            switch segment {
            case .text(let literal): text += literal
            case .parameter(let parameter):
                parameters.append(parameter)
                text += "$\(parameters.count)"
            }
        }
        return (text, parameters)
    }
}

/// A value on its way to the server, in binary.
struct Parameter: Sendable {
    let type: UInt32
    /// Nil is NULL.
    let bytes: [UInt8]?

    init(_ value: some PostgresEncodable) {
        type = Swift.type(of: value).postgresType.oid
        if value.isSQLNull {
            bytes = nil
        } else {
            var bytes: [UInt8] = []
            value.encode(into: &bytes)
            self.bytes = bytes
        }
    }
}
