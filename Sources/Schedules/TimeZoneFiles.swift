internal import Glibc
internal import Primitives

/// The time zones of this machine: compiled files below `$TZDIR`, else `/usr/share/zoneinfo`. `UTC` needs none.
package struct TimeZoneFiles: Sendable {
    package enum Failure: Error, Hashable, Sendable {
        /// The zone that was meant, if one is like it.
        case unknown(meant: String?)
        /// The folder is not there.
        case notInstalled(folder: String)
        case unreadable(reason: String)
    }

    private let folder: String

    package init(folder: String? = nil) {
        self.folder = folder ?? getenv("TZDIR").map { String(cString: $0) } ?? "/usr/share/zoneinfo"
    }

    package func rules(_ name: String) throws(Failure) -> TimeZoneRules {
        if name == "UTC" { return .utc }
        guard access(folder, X_OK) == 0 else { throw .notInstalled(folder: folder) }
        guard Self.isName(name), let bytes = Self.read("\(folder)/\(name)") else {
            throw .unknown(meant: meant(by: name))
        }
        do throws(TZifFile.Malformed) {
            return try TZifFile.rules(bytes, name: name)
        } catch {
            throw .unreadable(reason: error.reason)
        }
    }

    /// No way out of the folder.
    private static func isName(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return parts.allSatisfy { part in
            !part.isEmpty && part.first != "."
                && part.utf8.allSatisfy { byte in
                    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || (0x30...0x39).contains(byte)
                        || "_+-".utf8.contains(byte)
                }
        }
    }

    /// The content of a regular file that is not larger than any time zone's; nil when there is none.
    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size < 1_000_000 else {
            return nil
        }
        var bytes: [UInt8] = []
        while true {
            let count = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16_384) { buffer in
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count > 0 { bytes += buffer[..<count] }
                return count
            }
            if count == 0 { return bytes }
            if count < 0, errno != EINTR { return nil }
        }
    }

    // MARK: - Names

    /// `Zurich` and `europe/zurich` mean `Europe/Zurich`, and so does `Europe/Zürich`.
    private func meant(by name: String) -> String? {
        let names = names(below: "")
        let lower = name.lowercased().map { $0 == " " ? "_" : $0 }
        return names.first { $0.lowercased() == String(lower) }
            ?? names.first { $0.lowercased().hasSuffix("/" + String(lower)) }
            ?? closest(to: name, among: names)
    }

    private func names(below prefix: String) -> [String] {
        guard let stream = opendir("\(folder)/\(prefix)") else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            // Copies of all zones, and tables in other formats.
            guard Self.isName(name), !["posix", "right", "posixrules", "localtime", "Factory"].contains(name) else {
                continue
            }
            var status = stat()
            guard stat("\(folder)/\(prefix)\(name)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                names += self.names(below: "\(prefix)\(name)/")
            } else if name.first.map({ $0.isUppercase }) ?? false {
                names.append("\(prefix)\(name)")
            }
        }
        return names.sorted()
    }
}
