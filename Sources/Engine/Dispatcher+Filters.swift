import Delivery
import Expressions
import HTTPClient
import Postgres
import Primitives
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// Filters that need jq run beside the dispatcher, a process a lane.
extension Dispatcher {
    func evaluator(of lane: Int32, _ state: inout State) -> Evaluator {
        let evaluator = state.evaluators[lane] ?? makeEvaluator()
        state.evaluators[lane] = evaluator
        return evaluator
    }

    /// Sorts out what a filter does not want, and sends the rest.
    func filter(_ deliveries: [ClaimedDelivery], by filter: Expression, lane: Int32) {
        let evaluator = state.withLock { state in self.evaluator(of: lane, &state) }
        Task {
            let inputs = deliveries.map { (filter, $0.filterInput) }
            let verdicts = await evaluator.evaluate(inputs)
            var passed: [ClaimedDelivery] = []
            var finished: [FinishedTry] = []
            for (delivery, verdict) in zip(deliveries, verdicts) {
                switch verdict {
                case .success(let value) where value.isNull || value == .bool(false):
                    finished.append(.notSent(delivery, "filtered", .done))
                case .success: passed.append(delivery)
                case .failure(.unavailable(let reason)):
                    // Not the message's fault: another moment, or another worker.
                    log.error("filter.unavailable", ["reason": reason], limitPerSecond: 1)
                    finished.append(
                        .notSent(delivery, "cancelled", .again(after: .seconds(1), attempts: delivery.attempts)))
                case .failure(let error):
                    finished.append(
                        .notSent(
                            delivery, "failed", .dead(reason: DeliveryMachine.Reason.expression.rawValue),
                            error: "filter: \(error)", isRecorded: true))
                }
            }
            let requests = state.withLock { state in
                state.lanes[lane]?.leftFilter(deliveries.count)
                finish(finished, lane, &state)
                var requests: [HTTPRequest] = []
                // Under a session that was lost meanwhile, they are not this worker's any more.
                let own = passed.filter { $0.owner == nil || $0.owner == state.token }
                guard let route = state.lanes[lane]?.route, !state.isDraining || route.guarantee == .atMostOnce else {
                    for delivery in own { giveBack(delivery, &state) }
                    return requests
                }
                let now = ContinuousClock.now
                for delivery in own { state.lanes[lane]!.enqueued(delivery, now: now) }
                pump(lane, &state, now, into: &requests)
                return requests
            }
            submit(requests)
            wakeup.signal()
        }
    }
}

extension ClaimedDelivery {
    /// What a filter sees: `.payload .topic .key .headers`.
    var filterInput: [UInt8] {
        var input = Array(#"{"payload":"#.utf8)
        input += message?.payload ?? Array("null".utf8)
        input += #","topic":"#.utf8
        JSON(message?.topic).write(into: &input)
        input += #","key":"#.utf8
        JSON(message?.key).write(into: &input)
        input += #","headers":"#.utf8
        input += message?.headers ?? Array("{}".utf8)
        input.append(UInt8(ascii: "}"))
        return input
    }
}
