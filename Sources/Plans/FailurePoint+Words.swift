extension FailurePoint.Place {
    /// `charge`, `route, at its output`.
    package var words: String {
        switch self {
        case .step(let id): id
        case .start(let id): "\(id), at its start"
        case .output(let id): "\(id), at its output"
        case .sagaOutput: "the saga's output"
        }
    }
}

extension FailurePoint {
    /// `undo charge (if it may have happened), reserve; pick_list stays`.
    package var words: String {
        switch outcome {
        case .undone: undoing
        case .undoneUnlessUnknown:
            "\(undoing); while it stays unknown whether it has happened: stuck, until a person says which"
        case .undoneUnlessPast(let pivots): "stuck if \(Self.anyOf(pivots)) has succeeded; else \(undoing)"
        case .stuck: "nothing is undone: stuck, for a person to retry or skip"
        }
    }

    private var undoing: String {
        let undoing = undone.isEmpty ? "nothing to undo" : "undo \(undone.words)"
        return stays.isEmpty
            ? undoing : "\(undoing); \(stays.joined(separator: ", ")) \(stays.count == 1 ? "stays" : "stay")"
    }

    static func anyOf(_ ids: [String]) -> String { ids.joined(separator: " or ") }
}

extension Undo {
    var words: String {
        switch self {
        case .step(let id, let proviso): id + proviso.words
        case .group(let group):
            "[\(group.container)\(group.proviso.words), \(group.order.words): \(group.lanesInWords)]"
        }
    }
}

extension [Undo] {
    fileprivate var words: String { map(\.words).joined(separator: ", ") }
}

extension Undo.Group {
    fileprivate var lanesInWords: String {
        lanes.map { ($0.name.map { "\($0) " } ?? "") + $0.undone.words }.joined(separator: " | ")
    }
}

extension Undo.Group.Order {
    fileprivate var words: String {
        switch self {
        case .interleaved, .mixedIterations: "the last started first"
        case .chosen: "the case that ran"
        case .iterations: "each iteration, the last first"
        case .earlierIterations: "each earlier iteration, the last first"
        }
    }
}

extension Undo.Proviso {
    fileprivate var words: String {
        switch self {
        case .always: ""
        case .mayHaveHappened: " (if it may have happened)"
        case .notSkipped: " (unless skipped)"
        case .started: " (if started)"
        }
    }
}
