/// Which names are allowed.
enum Name {
    /// In bytes, which are characters in a valid name.
    static let lengthLimit = 255

    static func isValid(_ text: String) -> Bool {
        guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first),
            text.utf8.count <= lengthLimit
        else { return false }
        return text.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }

    /// The name that was meant by `Order_Email`.
    static func repaired(_ text: String) -> String? {
        let name = String(text.lowercased().map { $0 == "_" || $0 == " " || $0 == "/" ? "-" : $0 })
        return isValid(name) && !name.contains("--") ? name : nil
    }

    static func isSecretName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= lengthLimit else { return false }
        let isWord = { (byte: UInt8) in
            byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
        return isWord(first)
            && text.utf8.allSatisfy {
                isWord($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
                    || $0 == UInt8(ascii: ".")
            }
    }
}
