internal import CLibJQ
internal import Glibc
internal import Primitives

/// A compiled jq program. Only the process for expressions makes one: libjq can be driven to abort, to run for ever and
/// to take all memory.
final class JQProgram {
    struct CompileError: Error {
        let message: String
    }

    private let state: OpaquePointer

    /// Takes about 20 ms: libjq compiles its own library each time.
    ///
    /// - Parameter environment: a JSON object, bound to `$env`.
    init(_ text: String, environment: [UInt8]) throws(CompileError) {
        guard let state = jq_init() else { throw CompileError(message: "libjq cannot be started") }
        // At once, and for each state: libjq 1.6 leaves the handler of a new one to chance.
        jq_set_nomem_handler(state, { _ in _exit(ExpressionWorker.memoryExitCode) }, nil)
        let messages = Messages()
        jq_set_error_cb(
            state, { data, message in Unmanaged<Messages>.fromOpaque(data!).takeUnretainedValue().add(message) },
            Unmanaged.passUnretained(messages).toOpaque())
        let arguments = jv_object_set(jv_object(), jv_string("env"), Self.parse(environment))
        let isCompiled = jq_compile_args(state, text, arguments) != 0
        jq_set_error_cb(state, { _, message in jv_free(message) }, nil)
        guard isCompiled else {
            var dying: OpaquePointer? = state
            jq_teardown(&dying)
            throw CompileError(message: messages.summary)
        }
        self.state = state
    }

    deinit {
        var dying: OpaquePointer? = state
        jq_teardown(&dying)
    }

    /// The one value that the program gives for an input.
    func run(_ input: [UInt8]) -> Reply {
        if let digits = InexactNumber.first(in: input) { return .inexactNumber(digits) }
        let value = Self.parse(input)
        guard jv_get_kind(value) != JV_KIND_INVALID else {
            return .failed("the input is not JSON: \(Self.message(of: value))")
        }
        jq_start(state, value, 0)
        // Frees what a run that is left early still holds.
        defer { jq_start(state, jv_null(), 0) }
        let first = jq_next(state)
        guard jv_get_kind(first) != JV_KIND_INVALID else {
            return jv_invalid_has_msg(jv_copy(first)) != 0 ? .failed(Self.message(of: first)) : .resultCount("no value")
        }
        let second = jq_next(state)
        guard jv_get_kind(second) == JV_KIND_INVALID else {
            jv_free(first)
            jv_free(second)
            return .resultCount("more than one value")
        }
        if jv_invalid_has_msg(jv_copy(second)) != 0 {
            jv_free(first)
            return .failed(Self.message(of: second))
        }
        jv_free(second)
        let output = Self.bytes(ofString: jv_dump_string(first, 0))
        if let digits = InexactNumber.first(in: output) { return .inexactNumber(digits) }
        return .value(output)
    }

    // MARK: - Values

    private static func parse(_ bytes: [UInt8]) -> jv {
        bytes.withUnsafeBytes { jv_parse_sized($0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count)) }
    }

    /// Consumes an invalid value; a message that is no string is given as JSON.
    private static func message(of invalid: jv) -> String {
        let message = jv_invalid_get_msg(invalid)
        let isString = jv_get_kind(message) == JV_KIND_STRING
        return String(decoding: bytes(ofString: isString ? message : jv_dump_string(message, 0)), as: UTF8.self)
    }

    private static func bytes(ofString string: jv) -> [UInt8] {
        defer { jv_free(string) }
        let count = Int(jv_string_length_bytes(jv_copy(string)))
        return Array(UnsafeRawBufferPointer(start: jv_string_value(string), count: count))
    }

    /// What libjq's compiler says, without what belongs to its command line.
    private final class Messages {
        private var texts: [String] = []

        func add(_ message: jv) {
            texts.append(String(decoding: JQProgram.bytes(ofString: jq_format_error(message)), as: UTF8.self))
        }

        var summary: String {
            let summaries = texts.compactMap { text -> String? in
                var line = text.prefix { $0 != "\n" }
                guard line.hasPrefix("jq: error: ") else { return nil }
                line = line.dropFirst("jq: error: ".count)
                for noise in [" (Unix shell quoting issues?)", " at <top-level>"] {
                    if let place = line.firstRange(of: noise) { line = line[..<place.lowerBound] }
                }
                return String(line)
            }
            return summaries.isEmpty ? "it cannot be compiled" : summaries.joined(separator: "; ")
        }
    }
}

extension Substring {
    fileprivate func firstRange(of text: String) -> Range<Index>? {
        indices.first { self[$0...].hasPrefix(text) }.map { $0..<index($0, offsetBy: text.count) }
    }
}
