internal import Glibc

/// Finds the files of a workflow folder.
package enum WorkflowFileFinder {
    package enum Kind: Sendable {
        /// What declares something.
        case workflows
        /// The scenarios of sagas, which stand beside them.
        case scenarios

        package func includes(_ path: String) -> Bool {
            let isScenario = scenarioEndings.contains { path.hasSuffix($0) }
            return switch self {
            case .workflows: !isScenario && endings.contains { path.hasSuffix($0) }
            case .scenarios: isScenario
            }
        }
    }

    private static let endings = [".yaml", ".yml", ".json"]
    private static let scenarioEndings = endings.map { ".test" + $0 }

    /// Sorted by path within each of the given paths, each file once. A folder that was entered already, through a
    /// symbolic link, is not entered again; hidden names are left out, and with them the inner folders of a mounted
    /// Kubernetes ConfigMap.
    package static func files(
        _ kind: Kind = .workflows, below paths: [String], _ diagnostics: inout [Diagnostic]
    ) -> [String] {
        var search = Search(kind)
        for path in paths { search.visit(path, isGiven: true) }
        diagnostics += search.diagnostics
        return search.files
    }

    private struct Inode: Hashable {
        let device: dev_t
        let number: ino_t
    }

    private struct Search {
        let kind: Kind
        var files: [String] = []
        var diagnostics: [Diagnostic] = []
        private var seen: Set<Inode> = []

        init(_ kind: Kind) {
            self.kind = kind
        }

        mutating func visit(_ path: String, isGiven: Bool) {
            var status = stat()
            guard stat(path, &status) == 0 else {
                fail(path, "cannot be read: \(String(cString: strerror(errno)))", isGiven)
                return
            }
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            guard isFolder || isGiven || kind.includes(path),
                seen.insert(Inode(device: status.st_dev, number: status.st_ino)).inserted
            else { return }
            if isFolder { visitFolder(path) } else { files.append(path) }
        }

        private mutating func visitFolder(_ path: String) {
            guard let folder = opendir(path) else {
                fail(path, "cannot be read: \(String(cString: strerror(errno)))", true)
                return
            }
            var names: [String] = []
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if !name.hasPrefix(".") { names.append(name) }
            }
            closedir(folder)
            let prefix = path.hasSuffix("/") ? path : path + "/"
            for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
                visit(prefix + name, isGiven: false)
            }
        }

        /// A dangling link of another name is nobody's concern.
        private mutating func fail(_ path: String, _ message: String, _ isGiven: Bool) {
            guard isGiven || kind.includes(path) else { return }
            diagnostics.append(Diagnostic(file: path, position: .wholeFile, found: message))
        }
    }
}
