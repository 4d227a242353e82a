import Delivery
import Expressions
import Primitives
import Sagas

// What a definition says, in the words of a plan.

extension Action {
    var kind: PlannedStep.Kind {
        switch self {
        case .call: .call
        case .publish: .publish
        case .parallel: .parallel
        case .foreach: .foreach
        case .choose: .switch
        case .wait: .wait
        case .await: .await
        case .approve: .approve
        case .run: .run
        case .set: .set
        case .fail: .fail
        }
    }

    var words: String {
        switch self {
        case .call(let call): call.words
        case .publish(let publication): publication.words
        case .parallel(let parallel):
            parallel.branches.count == 1 ? "one branch" : "\(parallel.branches.count) branches at once"
        case .foreach(let loop): "each \(loop.name) of \(loop.items)"
        case .choose: "the first case that holds"
        case .wait(.duration(let duration)): "for \(duration.text)"
        case .wait(.until(let time)): "until \(time)"
        case .await(let waiting): "the event \(waiting.event)"
        case .approve(let approval): "a person decides: \(approval.prompt.source)"
        case .run(let run): "the sub-saga \(run.saga)" + (run.key.map { ", key \($0.source)" } ?? "")
        case .set(let values): values.outline
        case .fail(let fail): "aborts with \(fail.type)" + (fail.detail.map { ": \($0.source)" } ?? "")
        }
    }

    /// Whether it can fail and yet have happened, or be about to.
    var mayEndUnknown: Bool {
        switch self {
        case .call(.http), .run: true
        // Its effect and its outcome are one transaction.
        case .call(.sql), .publish, .parallel, .foreach, .choose, .wait, .await, .approve, .set, .fail: false
        }
    }

    /// Whether it changes, or may change, something outside of the saga. GET is safe (RFC 9110, section 9.2.1).
    var reachesOut: Bool {
        switch self {
        case .call(.http(let call)): call.method != .get
        case .call(.sql), .publish, .run: true
        case .parallel, .foreach, .choose, .wait, .await, .approve, .set, .fail: false
        }
    }
}

extension Step {
    var settings: [String] {
        let deadline = deadline.map { "\($0.text) for the whole step" }
        switch action {
        case .call(let call):
            return retry.words(timeout: timeout, isAsync: call.isAsync) + [deadline].compactMap(\.self)
        case .publish, .wait, .set, .fail: return []
        case .parallel(let parallel):
            switch parallel.onError {
            case .abort: return ["the first failure aborts"]
            case .wait: return ["after a failure the other branches go on to their ends"]
            }
        case .foreach(let loop): return [loop.limit == 1 ? "one at a time" : "\(loop.limit) at a time"]
        case .choose: return []
        case .await(let waiting):
            switch waiting.onTimeout {
            case .fail: return [waiting.timeout.map { "after \($0.text) it fails" } ?? "however long it takes"]
            case .continue:
                return [waiting.timeout.map { "after \($0.text) it goes on without" } ?? "however long it takes"]
            }
        case .approve(let approval):
            return [approval.timeout.map { "after \($0.text) it fails" } ?? "however long it takes"]
        case .run: return [deadline].compactMap(\.self)
        }
    }

    /// A step without inner steps fails where it fails; what contains steps can fail before them.
    var failsAtStart: Bool {
        switch action {
        case .parallel: condition != nil
        case .choose(let choice): condition != nil || choice.cases.contains { $0.condition != nil }
        case .foreach, .call, .publish, .wait, .await, .approve, .run, .set, .fail: true
        }
    }
}

extension Compensation {
    var words: String {
        switch action {
        case .call(let call): call.words
        case .publish(let publication): "publishes \(publication.words)"
        }
    }

    var settings: [String] {
        switch action {
        case .call(let call): retry.words(timeout: timeout, isAsync: call.isAsync)
        case .publish: []
        }
    }
}

extension Call {
    var isAsync: Bool {
        if case .http(let http) = self { http.isAsync } else { false }
    }

    var words: String {
        switch self {
        case .http(let http):
            [http.method.rawValue, http.url.template.source, http.endpoint.map { "at \($0)" }]
                .compactMap(\.self).filter { !$0.isEmpty }.joined(separator: " ")
        case .sql(let sql): "sql: \(sql.statement)"
        }
    }
}

extension Publication {
    var words: String { topic + (key.map { ", key \($0.source)" } ?? "") }
}

extension RetryPolicy {
    /// `5 tries of 30s`, `500ms to 4s apart`, before jitter.
    func words(timeout: Duration, isAsync: Bool) -> [String] {
        let each = isAsync ? "of up to \(timeout.text) until the callback" : "of \(timeout.text)"
        let last: Duration
        var words: [String]
        switch attempts {
        case .limited(1): return ["one try \(each)"]
        case .limited(let count):
            words = ["\(count) tries \(each)"]
            last = pause(after: count - 1)
        case .forever:
            words = ["any number of tries \(each)"]
            last = pause(after: 100_000)
        }
        let first = pause(after: 1)
        words.append(first == last ? "\(first.text) apart" : "\(first.text) to \(last.text) apart")
        if let maxElapsed { words.append("within \(maxElapsed.text)") }
        return words
    }

    private func pause(after attempt: Int) -> Duration {
        var fixed = self
        fixed.jitter = .none
        let exact = fixed.delay(after: attempt, random: 0).microseconds
        // 3 * 300 ms is 899.999 ms in binary.
        return .microseconds(exact < 1000 ? exact : (exact + 500) / 1000 * 1000)
    }
}

extension ValueTemplate {
    /// The names of an object's members; anything else as it is written.
    var outline: String {
        switch self {
        case .literal(let json): json.text
        case .text(let template): template.source
        case .array(let elements): "[\(elements.map(\.outline).joined(separator: ", "))]"
        case .object(let members): members.map(\.name).joined(separator: ", ")
        }
    }
}
