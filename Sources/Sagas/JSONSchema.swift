package import Primitives

/// A documented subset of JSON Schema (draft 2020-12): `type`, `enum`, `const`, `properties`, `required`,
/// `additionalProperties`, `items`, `minItems`, `maxItems`, `minLength`, `maxLength`, `minimum`, `maximum`,
/// `exclusiveMinimum`, `exclusiveMaximum`. `title`, `description`, `default`, `examples`, `$schema`, `$id` and `$comment` are
/// allowed and say nothing.
package indirect enum JSONSchema: Sendable, Hashable {
    /// `true`: everything fits; `false`: nothing does.
    case bool(Bool)
    case rules(Rules)

    package struct Rules: Sendable, Hashable {
        package var types: [Kind]?
        package var values: [JSON]?
        package var properties: [ValueRule] = []
        package var required: [String] = []
        package var additional: JSONSchema = .bool(true)
        package var items: JSONSchema?
        package var minItems: Int?
        package var maxItems: Int?
        package var minLength: Int?
        package var maxLength: Int?
        package var minimum: JSONNumber?
        package var maximum: JSONNumber?
        package var exclusiveMinimum: JSONNumber?
        package var exclusiveMaximum: JSONNumber?

        package init() {}
    }

    package struct ValueRule: Sendable, Hashable {
        package var name: String
        package var schema: JSONSchema

        package init(name: String, schema: JSONSchema) {
            self.name = name
            self.schema = schema
        }
    }

    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case null, boolean, object, array, number, integer, string
    }

    /// Why a value does not fit, with the place in it: `.order.total is "x"; expected number`. Nil when it fits.
    package func mismatch(_ value: JSON, at place: String = "") -> String? {
        let here = place.isEmpty ? "the input" : place
        switch self {
        case .bool(true): return nil
        case .bool(false): return "\(here) is not allowed"
        case .rules(let rules): return rules.mismatch(value, at: place, here)
        }
    }
}

extension JSONSchema.Rules {
    fileprivate func mismatch(_ value: JSON, at place: String, _ here: String) -> String? {
        if let types, !types.contains(where: { $0.fits(value) }) {
            return "\(here) is \(shown(value)); expected \(types.map(\.rawValue).joined(separator: " or "))"
        }
        if let values, !values.contains(where: { $0.isEqualAsJSON(to: value) }) {
            return "\(here) is \(shown(value)); expected \(values.map(\.text).joined(separator: " or "))"
        }
        switch value {
        case .string(let text):
            return lengthMismatch(text.unicodeScalars.count, "characters", minLength, maxLength, here)
        case .number(let number): return rangeMismatch(number, here)
        case .array(let elements):
            if let wrong = lengthMismatch(elements.count, "elements", minItems, maxItems, here) { return wrong }
            guard let items else { return nil }
            return elements.enumerated().lazy.compactMap { items.mismatch($1, at: "\(place)[\($0)]") }.first
        case .object(let object): return memberMismatch(object, at: place, here)
        case .null, .bool: return nil
        }
    }

    private func memberMismatch(_ object: JSONObject, at place: String, _ here: String) -> String? {
        if let missing = required.first(where: { object[$0] == nil }) { return "\(here) has no member '\(missing)'" }
        for member in object.members {
            let inner = "\(place).\(member.name)"
            if let property = properties.first(where: { $0.name == member.name }) {
                if let wrong = property.schema.mismatch(member.value, at: inner) { return wrong }
            } else if let wrong = additional.mismatch(member.value, at: inner) {
                return wrong
            }
        }
        return nil
    }

    private func lengthMismatch(_ count: Int, _ what: String, _ least: Int?, _ most: Int?, _ here: String) -> String? {
        if let least, count < least { return "\(here) has \(count) \(what); expected at least \(least)" }
        if let most, count > most { return "\(here) has \(count) \(what); expected at most \(most)" }
        return nil
    }

    private func rangeMismatch(_ number: JSONNumber, _ here: String) -> String? {
        let found = "\(here) is \(number.digits)"
        if let minimum, number.isLess(than: minimum) { return "\(found); expected at least \(minimum.digits)" }
        if let maximum, maximum.isLess(than: number) { return "\(found); expected at most \(maximum.digits)" }
        if let exclusiveMinimum, !exclusiveMinimum.isLess(than: number) {
            return "\(found); expected more than \(exclusiveMinimum.digits)"
        }
        if let exclusiveMaximum, !number.isLess(than: exclusiveMaximum) {
            return "\(found); expected less than \(exclusiveMaximum.digits)"
        }
        return nil
    }

    private func shown(_ value: JSON) -> String {
        let text = value.text
        return text.count > 40 ? "\(text.prefix(37))…" : text
    }
}

extension JSONSchema.Kind {
    fileprivate func fits(_ value: JSON) -> Bool {
        switch (self, value) {
        case (.null, .null), (.boolean, .bool), (.object, .object), (.array, .array), (.number, .number),
            (.string, .string):
            true
        case (.integer, .number(let number)): number.isInteger
        case (.null, _), (.boolean, _), (.object, _), (.array, _), (.number, _), (.integer, _), (.string, _): false
        }
    }
}
