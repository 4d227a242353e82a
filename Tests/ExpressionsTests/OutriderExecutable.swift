import Glibc

/// The built program, beside which the test bundle lies.
enum OutriderExecutable {
    static let path: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        for candidate in CommandLine.arguments + ["/proc/self/exe"] {
            guard realpath(candidate, &buffer) != nil else { continue }
            var folder = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            while let slash = folder.lastIndex(of: "/") {
                folder = String(folder[..<slash])
                if access(folder + "/outrider", X_OK) == 0, access(folder + "/outrider.build", F_OK) == 0 {
                    return folder + "/outrider"
                }
            }
        }
        fatalError("the program outrider was not found beside \(CommandLine.arguments)")
    }()
}
