internal import Glibc

/// Reads a file whole, if it is a file and not too large.
enum SourceFile {
    struct Failure: Error {
        let message: String
    }

    /// The same for all paths of one file; nil when there is none.
    static func identity(_ path: String) -> String? {
        guard let absolute = realpath(path, nil) else { return nil }
        defer { free(absolute) }
        return String(cString: absolute)
    }

    static func read(_ path: String, limit: Int) -> Result<[UInt8], Failure> {
        // Not blocking: a pipe that nobody writes to would hold the open back for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            return .failure(Failure(message: "cannot be read: \(String(cString: strerror(errno)))"))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return .failure(Failure(message: "is not a regular file"))
        }
        let tooLarge = Failure(message: "the file has \(status.st_size) bytes; expected at most \(limit)")
        guard status.st_size <= limit else { return .failure(tooLarge) }
        var bytes: [UInt8] = []
        while bytes.count <= limit {
            let count = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 65_536) { buffer in
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count > 0 { bytes += buffer[..<count] }
                return count
            }
            if count == 0 { return .success(bytes) }
            if count < 0, errno != EINTR {
                return .failure(Failure(message: "cannot be read: \(String(cString: strerror(errno)))"))
            }
        }
        return .failure(tooLarge)
    }
}
