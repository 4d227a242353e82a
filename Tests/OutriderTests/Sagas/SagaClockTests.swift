import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Time is the database's (case 22 of the semantics).
struct SagaClockTests {
    /// Loaded before the C library, it shows a program another time of day.
    private static let shim = """
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int result = syscall(SYS_clock_gettime, clock, time);
            const char *seconds = getenv("SECONDS_OFF");
            if (clock == CLOCK_REALTIME && seconds) time->tv_sec += atol(seconds);
            return result;
        }
        """

    static let saga = """
        saga: watch
        version: 1
        timeout: 2m
        defaults: { retry: { attempts: 3, initial: 50ms } }
        steps:
          - id: first
            call: { http: POST /first, endpoint: shop }
          - id: nap
            wait: { for: 1500ms }
          - id: bell
            await: { event: never, timeout: 1500ms, on_timeout: continue }
          - id: last
            call: { http: POST /last, endpoint: shop }
        """

    @Test(arguments: [420, -420]) func aWorkerWhoseClockIsOffChangesNothing(seconds: Int) async throws {
        try await Scene.playing(Self.saga, Script(["/first": [.status(503), .status(200)]])) { scene in
            let source = scene.folder.write(Self.shim, to: "shim/shim.c")
            let library = "\(scene.folder.path)/shim/shim.so"
            #expect(try await Program.run(["clang", "-shared", "-fPIC", "-o", library, source]).exit == .code(0))
            let worker = try await scene.worker(
                environment: ["LD_PRELOAD": library, "SECONDS_OFF": "\(seconds)", "OUTRIDER_NAME": "off"])
            let id = try await scene.play("watch", to: "completed")
            let off: Double = try await scene.database.value(
                """
                select max(abs(extract(epoch from at - (select started_at from outrider.sagas where id = \(id)))))::float8
                from outrider.saga_history where saga_id = \(id) and worker = 'off'
                """)
            #expect(off < 60)
            let isSlowEnough: Bool = try await scene.database.value(
                """
                select max(at) - min(at) >= interval '3 s' from outrider.saga_history where saga_id = \(id)
                """)
            #expect(isSlowEnough)
            // The program's own clock is off indeed.
            let line = worker.log.split(separator: "\n").first { $0.contains("worker.ready") } ?? ""
            let stamp = line.firstMatch(of: #/\d{4}-\d\d-\d\dT[0-9:.]+Z/#).flatMap { Timestamp(rfc3339: String($0.0)) }
            #expect(abs((try #require(stamp) - .now()).seconds) > 300)
        }
    }
}
