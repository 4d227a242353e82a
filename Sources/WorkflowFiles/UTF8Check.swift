/// Where a text stops being UTF-8 (RFC 3629).
enum UTF8Check {
    static func firstInvalidByte(in bytes: [UInt8]) -> Int? {
        // The standard library checks fast and tells no place; a place is needed only when the check fails.
        if String(validating: bytes, as: UTF8.self) != nil { return nil }
        var iterator = bytes.makeIterator()
        var parser = Unicode.UTF8.ForwardParser()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let scalar): offset += scalar.count
            case .error, .emptyInput: return offset
            }
        }
    }
}
