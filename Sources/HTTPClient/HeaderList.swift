internal import CLibCurl
internal import Glibc

/// The request's header lines in the shape that libcurl reads, in memory that is used again for the next request:
/// `curl_slist_append` would allocate twice a line and walk the list each time.
struct HeaderList: ~Copyable {
    private var nodes: UnsafeMutableBufferPointer<curl_slist>
    private var text: UnsafeMutableBufferPointer<CChar>

    init() {
        nodes = .allocate(capacity: 32)
        text = .allocate(capacity: 2048)
    }

    deinit {
        nodes.deallocate()
        text.deallocate()
    }

    /// The first node; it and all it leads to are good until the next call.
    /// Throws the reason why a line cannot be sent; names are in it, values are not.
    mutating func set(_ lines: [String], withBody: Bool) throws(Refusal) -> UnsafeMutablePointer<curl_slist> {
        // Up to two lines of our own, and for each line a terminating zero and a `;`.
        reserve(nodes: lines.count + 2, text: lines.reduce(64) { $0 + $1.utf8.count + 2 })
        var end = 0
        var count = 0
        var hasContentType = false
        for line in lines {
            let start = end
            try append(line, at: &end)
            if end - start > 13, strncasecmp(text.baseAddress! + start, "content-type:", 13) == 0 {
                hasContentType = true
            }
            link(start, &count)
        }
        // "Name:" takes away a header that libcurl would add by itself: waiting for "100 Continue" costs a round trip or a
        // second, and without a type given it would claim that the body is a form.
        for removed in withBody ? (hasContentType ? ["Expect:"] : ["Expect:", "Content-Type:"]) : ["Expect:"] {
            let start = end
            copy(removed, to: &end)
            text[end] = 0
            end += 1
            link(start, &count)
        }
        return nodes.baseAddress!
    }

    private mutating func append(_ line: String, at end: inout Int) throws(Refusal) {
        let start = end
        copy(line, to: &end)
        let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[start..<end])
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            bytes[..<colon].allSatisfy(isTokenByte)
        else { throw Refusal("a header line does not begin with a name and a colon") }
        let name = { String(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<colon]), as: UTF8.self) }
        guard !bytes.contains(where: { $0 == 0x0A || $0 == 0x0D || $0 == 0 }) else {
            throw Refusal("the header \(name()) contains a line break or a zero byte")
        }
        if colon == 14 || colon == 17, ["content-length", "transfer-encoding"].contains(name().lowercased()) {
            throw Refusal("the header \(name()) cannot be set: it follows from the body")
        }
        if bytes[(colon + 1)...].allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) {
            // To libcurl "Name:" means no such header, and "Name;" one without a value.
            text[start + colon] = CChar(bitPattern: UInt8(ascii: ";"))
            end = start + colon + 1
        }
        text[end] = 0
        end += 1
    }

    private mutating func copy(_ string: String, to end: inout Int) {
        var string = string
        end += string.withUTF8 { bytes in
            if let from = bytes.baseAddress { memcpy(text.baseAddress! + end, from, bytes.count) }
            return bytes.count
        }
    }

    private mutating func link(_ start: Int, _ count: inout Int) {
        nodes.initializeElement(at: count, to: curl_slist(data: text.baseAddress! + start, next: nil))
        if count > 0 { nodes[count - 1].next = nodes.baseAddress! + count }
        count += 1
    }

    private mutating func reserve(nodes nodeCount: Int, text textCount: Int) {
        if nodes.count < nodeCount {
            nodes.deallocate()
            nodes = .allocate(capacity: nodeCount * 2)
        }
        if text.count < textCount {
            text.deallocate()
            text = .allocate(capacity: textCount * 2)
        }
    }
}

/// Why a request cannot be sent as it is.
struct Refusal: Error {
    let reason: String

    init(_ reason: String) {
        self.reason = reason
    }
}

/// RFC 9110, section 5.6.2: `token`, the form of header names and methods.
func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
        UInt8(ascii: "-"),
        UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"),
        UInt8(ascii: "~"):
        true
    default: false
    }
}
