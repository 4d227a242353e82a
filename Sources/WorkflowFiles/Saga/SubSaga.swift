internal import Primitives

/// A step that runs a saga, and how it stands in the saga around it.
struct SubSaga {
    /// The saga that runs it.
    struct Parent: Hashable {
        let name: String
        let version: Int
    }

    enum Standing {
        /// What it has done is never to be undone: its step is the pivot, or stands behind it.
        case final
        case beforePivot
        /// - inside: `parallel` or `foreach` around it.
        /// - isFollowed: a step that comes later can fail.
        case withoutPivot(inside: ActionKind?, isFollowed: Bool)
    }

    let name: String
    /// Nil when that could not be read.
    let parent: Parent?
    /// Of the step.
    let id: String?
    /// Whether it starts whenever its parent does, if that gets so far: no `if`, `switch` or `foreach` is around it.
    let isUnconditional: Bool
    let standing: Standing
    /// Of a pivot that has no deadline of its own: what it must not outlast, and where the file has the pivot.
    var limit: (timeout: Duration, position: Position)?
}
