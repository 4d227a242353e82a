import Primitives

extension JSON {
    /// Where this value is not what was expected, one line for each place: `.items[0].sku is "b"; expected "a"`.
    ///
    /// An expected object needs its members and may have more, an expected array needs its elements and no others, and
    /// null also stands for a member that is not there.
    func mismatches(with expected: JSON, at place: String) -> [String] {
        switch (self, expected) {
        case (.object(let found), .object(let wanted)):
            return wanted.members.flatMap { member -> [String] in
                let inner = place + Self.step(into: member.name)
                guard let value = found[member.name] else {
                    return member.value.isNull ? [] : ["\(inner) is missing; expected \(member.value.text)"]
                }
                return value.mismatches(with: member.value, at: inner)
            }
        case (.array(let found), .array(let wanted)) where found.count == wanted.count:
            return zip(found, wanted).enumerated().flatMap { index, pair in
                pair.0.mismatches(with: pair.1, at: "\(place)[\(index)]")
            }
        case (.array(let found), .array(let wanted)):
            let count = found.count == 1 ? "1 element" : "\(found.count) elements"
            return ["\(place) has \(count): \(text); expected \(wanted.count)"]
        default:
            return isEqualAsJSON(to: expected) ? [] : ["\(place) is \(text); expected \(expected.text)"]
        }
    }

    private static func step(into name: String) -> String {
        let isPlain = name.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return isPlain ? ".\(name)" : "[\(JSON.string(name).text)]"
    }
}
