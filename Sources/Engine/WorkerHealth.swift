import Primitives
internal import Synchronization

/// What probes and operators ask a worker.
package final class WorkerHealth: Sendable {
    package struct Report: Sendable {
        /// Why the worker does not work at all at the moment, nil while it does.
        package var obstacle: String? = "starting"
        /// Why the worker's beat fails, once it has failed for long; nil while it does not.
        package var silence: String?
        /// Subscriptions that it should serve and cannot, with the reason.
        var lackingSubscriptions: [String] = []
        /// The same of sagas.
        var lackingSagas: [String] = []
        /// And of schedules.
        var lackingSchedules: [String] = []
        /// All that it should serve and cannot.
        package var lacking: [String] { lackingSubscriptions + lackingSagas + lackingSchedules }
        package var isDraining = false
        package var isHousekeeper = false

        package var isReady: Bool { obstacle == nil && silence == nil && !isDraining }
    }

    private let report = Mutex(Report())

    package init() {}

    package var current: Report { report.withLock { $0 } }

    func update(_ change: (inout Report) -> Void) {
        report.withLock { change(&$0) }
    }
}
