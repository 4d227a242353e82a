import Delivery
import HTTPClient
import Primitives
import Store
import Telemetry

/// What becomes of a delivery after its request ended.
extension Dispatcher {
    /// - Parameters:
    ///   - now: by the database's clock.
    ///   - isForgiven: whether a failure uses up no attempt: the endpoint's breaker is open.
    func finished(
        _ exchange: HTTPExchange, _ delivery: ClaimedDelivery, _ route: Route, _ now: Timestamp, isForgiven: Bool
    ) -> FinishedTry {
        if case .failure(let failure) = exchange.result, failure.isNotTheHandlers {
            return notSent(delivery, failure)
        }
        let outcome = TryOutcome(exchange.result, policy: route.machine.policy, now: now)
        return finished(
            delivery, outcome, status: exchange.status, took: exchange.duration, route, now, isForgiven: isForgiven,
            answer: exchange.answer)
    }

    /// What a try that was made comes to.
    ///
    /// - Parameter answer: what is published where the message asks for it; nil where that is done already.
    func finished(
        _ delivery: ClaimedDelivery, _ outcome: TryOutcome, status: Int?, took duration: Duration, _ route: Route,
        _ now: Timestamp, isForgiven: Bool = false, answer: @autoclosure () -> JSON? = .none
    ) -> FinishedTry {
        let attempt = delivery.attempts + 1
        var result = FinishedTry(
            delivery: delivery, attempt: attempt, outcome: "succeeded", status: status, duration: duration,
            ending: .done, isRecorded: route.recordsAll)
        if outcome == .succeeded {
            if attempt == 1, let message = delivery.message {
                metrics.deliveryLag(route.subscription).observe(now - message.publishedAt)
            }
            if let headers = delivery.message?.headers, let address = ReplyAddress(headers: headers),
                let answer = answer()
            {
                result.reply = Reply(address, payload: answer)
            }
            return result
        }
        result.isRecorded = true
        if case .refused = outcome { result.outcome = "refused" } else { result.outcome = "failed" }
        var cause: TryError?
        switch decision(on: outcome, of: delivery, took: duration, route, isForgiven: isForgiven) {
        case .succeed: break
        case .retry(let delay, let countsAttempt, let error):
            cause = error
            if !countsAttempt, error == nil { result.outcome = "ongoing" }
            result.ending = .again(after: delay, attempts: countsAttempt ? attempt : delivery.attempts)
        case .deadLetter(let reason, let error):
            cause = error
            result.ending = .dead(reason: reason.rawValue)
        case .drop(let error): cause = error
        }
        result.error = cause.map { route.redacted($0.message) }
        if delivery.owner == nil {
            // At most once: whatever it came to, there is no second try.
            result.ending = .done
        }
        report(result, route, error: cause.map { route.redacted($0.summary) })
        return result
    }

    private func decision(
        on outcome: TryOutcome, of delivery: ClaimedDelivery, took: Duration, _ route: Route, isForgiven: Bool
    ) -> DeliveryMachine.Decision {
        switch outcome {
        case .refused(let error) where error.type == DeliveryMachine.Reason.outputTooLarge.rawValue:
            route.machine.giveUp(.outputTooLarge, error)
        case .failed(let error, _, let retryAfter) where isForgiven:
            route.machine.forgive(
                error, attempt: delivery.attempts + 1, retryAfter: retryAfter, random: Double.random(in: 0..<1))
        default:
            route.machine.decide(
                outcome, attempt: delivery.attempts + 1, elapsed: (delivery.elapsed ?? .zero) + took,
                random: Double.random(in: 0..<1))
        }
    }

    /// It goes back as it came. At most once there is no way back.
    func notSent(_ delivery: ClaimedDelivery, _ failure: TransportFailure) -> FinishedTry {
        guard delivery.owner != nil else {
            return .notSent(delivery, "dropped", .done, error: failure.message, isRecorded: true)
        }
        var delay = Duration.zero
        if case .noResources = failure.kind {
            delay = .seconds(1)
            log.error("http.no_resources", ["error": failure.message], limitPerSecond: 1)
        }
        return .notSent(delivery, "cancelled", .again(after: delay, attempts: delivery.attempts))
    }

    /// - Parameter error: without the handler's words.
    private func report(_ result: FinishedTry, _ route: Route, error: String?) {
        switch result.ending {
        case .dead(let reason):
            log.error(
                "delivery.dead",
                [
                    "subscription": route.subscription, "message": "\(result.delivery.messageID)",
                    "attempt": result.attempt, "reason": reason, "error": error,
                ], limitPerSecond: 20)
        case .again(let delay, _) where result.outcome != "ongoing":
            log.warning(
                "delivery.failed",
                [
                    "subscription": route.subscription, "message": "\(result.delivery.messageID)",
                    "attempt": result.attempt, "error": error, "retry_in": delay,
                ], limitPerSecond: 20)
        case .again: break
        case .done:
            log.warning(
                "delivery.dropped",
                [
                    "subscription": route.subscription, "message": "\(result.delivery.messageID)",
                    "error": error,
                ], limitPerSecond: 20)
        }
    }
}

extension FinishedTry {
    /// The end of a delivery that no handler saw.
    static func notSent(
        _ delivery: ClaimedDelivery, _ outcome: String, _ ending: Ending, error: String? = nil, isRecorded: Bool = false
    ) -> FinishedTry {
        FinishedTry(
            delivery: delivery, attempt: delivery.attempts + 1, outcome: outcome, error: error, ending: ending,
            isRecorded: isRecorded)
    }
}

extension TransportFailure {
    /// Nothing was sent, and the handler has no part in it.
    var isNotTheHandlers: Bool {
        switch kind {
        case .cancelled(sent: false), .noResources: true
        case .cancelled(sent: true), .notStarted, .unknown, .tooLarge: false
        }
    }
}

extension HTTPExchange {
    var status: Int? {
        if case .success(let response) = result { response.status } else { nil }
    }

    /// The JSON that came back; null for anything else.
    fileprivate var answer: JSON {
        if case .success(let response) = result { response.output ?? .null } else { .null }
    }
}
