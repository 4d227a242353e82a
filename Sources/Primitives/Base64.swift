/// RFC 4648, section 4, with padding.
package func base64(_ bytes: some Sequence<UInt8>) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    var pending: UInt32 = 0
    var count = 0
    for byte in bytes {
        pending = pending << 8 | UInt32(byte)
        count += 1
        if count == 3 {
            for shift in [18, 12, 6, 0] as [UInt32] { text.append(alphabet[Int(pending >> shift & 63)]) }
            (pending, count) = (0, 0)
        }
    }
    if count > 0 {
        pending <<= count == 1 ? 16 : 8
        for shift in [18, 12, 6, 0].prefix(count + 1) as ArraySlice<UInt32> {
            text.append(alphabet[Int(pending >> shift & 63)])
        }
        for _ in count..<3 { text.append(UInt8(ascii: "=")) }
    }
    return String(decoding: text, as: UTF8.self)
}

/// Nil for what is not RFC 4648, section 4; padding may be missing.
package func base64Decoded(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    var pending: UInt32 = 0
    var bits = 0
    var isPadded = false
    for byte in text.utf8 {
        let value: UInt8
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        case UInt8(ascii: "="):
            isPadded = true
            continue
        default: return nil
        }
        guard !isPadded else { return nil }
        pending = pending << 6 | UInt32(value)
        bits += 6
        if bits >= 8 {
            bits -= 8
            bytes.append(UInt8(truncatingIfNeeded: pending >> UInt32(bits)))
        }
    }
    return bits < 6 ? bytes : nil
}
