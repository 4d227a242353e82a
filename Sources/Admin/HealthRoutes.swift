import Engine
import HTTPServer
import Telemetry

/// What probes and Prometheus ask.
struct HealthRoutes {
    let health: WorkerHealth
    let queues: QueueMetrics
    let metrics: Metrics

    var routes: [Route] { [Self.alive, ready, figures] }

    static let alive = Route(
        .get, "/healthz", "isAlive", "Whether the process works", access: .everybody,
        answers: [Route.Answer(status: 200, what: "It does.", type: "text/plain", schema: .text)]
    ) { _ in .text("ok\n") }

    private var ready: Route {
        let health = health
        return Route(
            .get, "/readyz", "isReady", "Whether the worker works; else 503 and why not", access: .everybody,
            answers: [Route.Answer(status: 200, what: "It does.", type: "text/plain", schema: .text)]
        ) { _ in Self.readiness(health.current) }
    }

    private var figures: Route {
        let (queues, metrics) = (queues, metrics)
        return Route(
            .get, "/metrics", "getMetrics", "Metrics for Prometheus",
            answers: [Route.Answer(status: 200, what: "The metrics.", type: "text/plain", schema: .text)]
        ) { _ in
            await queues.refresh()
            return ServerResponse(
                status: 200, headers: [("Content-Type", Metrics.contentType)], body: Array(metrics.exposition().utf8))
        }
    }

    private static func readiness(_ report: WorkerHealth.Report) -> ServerResponse {
        let lines = report.lacking.map { $0 + "\n" }.joined()
        if let obstacle = report.obstacle ?? report.silence {
            return .text("not ready: \(obstacle)\n" + lines, status: 503)
        }
        if report.isDraining { return .text("not ready: draining\n" + lines, status: 503) }
        return .text("ready\n" + lines)
    }
}
