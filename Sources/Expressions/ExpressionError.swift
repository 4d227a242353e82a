internal import Primitives

/// Why an expression has no value.
package enum ExpressionError: Error, Hashable, Sendable {
    /// The text is not an expression; `offset` counts UTF-8 bytes from the beginning of its source.
    case syntax(message: String, offset: Int)
    /// It failed on this input; the message is jq's own. It may quote the input: it belongs to the message's or saga's
    /// own record, not into a log.
    case failed(message: String)
    /// It gave no value, or more than one.
    case resultCount(String)
    /// An integer beyond 2^53 in the input or in the result: jq's numbers are doubles and would change it in silence.
    case inexactNumber(String)
    /// It ran longer than its limit.
    case timeLimit(Duration)
    /// It wanted more memory than its limit.
    case memoryLimit(megabytes: Int)
    /// Its process died while it ran.
    case crashed(String)
    /// `$env.NAME` of a variable that is not listed in `OUTRIDER_EXPOSE_ENV`, or is not set.
    case unexposed(variable: String)
    /// No process for expressions could be started, or the evaluator is closed.
    case unavailable(String)
}

extension ExpressionError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .syntax(let message, _): message
        case .failed(let message): message
        case .resultCount(let found): "the expression gave \(found); expected exactly one value"
        case .inexactNumber(let digits):
            "the integer \(digits) is beyond 2^53 and would lose digits in jq; use a plain path, or a string"
        case .timeLimit(let limit): "the expression was stopped after \(limit.text)"
        case .memoryLimit(let megabytes): "the expression wanted more than \(megabytes) MB of memory"
        case .crashed(let how): "the expression's process \(how)"
        case .unexposed(let name):
            "the variable \(name) is not available; expected it to be set and listed in OUTRIDER_EXPOSE_ENV"
        case .unavailable(let reason): "expressions cannot be evaluated: \(reason)"
        }
    }
}
