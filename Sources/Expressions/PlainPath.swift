package import Primitives

/// A way into a value that needs no jq: `.a.b`, `.a[0]`, `.a["x y"]`, `."x"`, `$env.NAME`.
///
/// It is resolved by our own code, so that a number keeps every digit. Meaning and messages are jq's (manual, "Basic
/// filters"): what is missing is null, looking into a number or a string is an error.
package struct PlainPath: Sendable, Hashable {
    package enum Root: Sendable, Hashable {
        case input
        /// `$env`: the variables that were exposed to expressions.
        case environment
    }

    package enum Segment: Sendable, Hashable {
        case member(String)
        /// Counted from the end when negative.
        case index(Int)
    }

    package let root: Root
    package let segments: [Segment]

    /// The value at this path; null when it is missing.
    package func resolve(in input: JSON, environment: [String: String] = [:]) throws(ExpressionError) -> JSON {
        switch root {
        case .input: return try Self.walk(segments[...], from: input)
        case .environment:
            // The checker lets `$env` stand only with a name behind it.
            guard case .member(let name) = segments.first else { return .null }
            guard let value = environment[name] else { throw .unexposed(variable: name) }
            return try Self.walk(segments.dropFirst(), from: .string(value))
        }
    }

    private static func walk(_ segments: ArraySlice<Segment>, from value: JSON) throws(ExpressionError) -> JSON {
        var value = value
        for segment in segments {
            switch (value, segment) {
            case (.null, _): break
            case (.object(let object), .member(let name)): value = object[name] ?? .null
            case (.array(let elements), .index(let index)):
                let place = index < 0 ? elements.count + index : index
                value = elements.indices.contains(place) ? elements[place] : .null
            case (.object, .index), (.array, .member), (.bool, _), (.number, _), (.string, _):
                throw .failed(message: "Cannot index \(value.kind) with \(segment)")
            }
        }
        return value
    }
}

extension PlainPath.Segment: CustomStringConvertible {
    package var description: String {
        switch self {
        case .member(let name): "string \(JSON.string(name).text)"
        case .index: "number"
        }
    }
}

extension JSON {
    /// The name that jq gives to this kind of value.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
