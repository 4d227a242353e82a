import Postgres
package import Primitives

/// What is asked of schedules and said to them.
extension Operations {
    package func schedules() throws -> [JSON] {
        try rows(
            """
            select s.name, s.cron, s.timezone, s.does, case when s.paused_at is null then 'active' else 'paused' end as state,
                s.next_at, s.last_at, s.last_id, s.last_error, s.workers
            from outrider.schedules s order by s.name
            """)
    }

    package func pauseSchedule(_ name: String) throws {
        try connection.query("select outrider.pause_schedule(\(name))")
    }

    package func resumeSchedule(_ name: String) throws {
        try connection.query("select outrider.resume_schedule(\(name))")
    }

    /// Asks for a firing now, and returns its id.
    package func runSchedule(_ name: String) throws -> UUID {
        try connection.query("select outrider.run_schedule(\(name))")[0].decode(0, as: UUID.self)
    }

    /// A row of `schedule_firings`.
    package func scheduleFiring(_ id: UUID) throws -> JSON? {
        try rows("select * from outrider.schedule_firings f where f.id = \(id)").first
    }
}
