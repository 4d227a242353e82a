package import Postgres
package import Primitives

/// The statements of the beat and of the one worker that keeps house.
package struct Housekeeping {
    package struct Beat: Sendable {
        /// The database's clock.
        package let at: Timestamp
        package let isAlive: Bool
        package let leads: Bool
        package let peers: Int
        package let rescued: Int
        package let ready: [Int32]
        package let stranded: [Int32]
        package let dueIn: Duration?
        package let hasOperations: Bool
        package let hasUnsettledSlots: Bool
        package let epoch: String
        /// Changes whenever a share of a limit, a circuit breaker or a count of failures does.
        package let limits: String
        /// Whether the backlogs of topics are to be counted, to one that leads.
        package let hasBacklogs: Bool
    }

    package struct Vitals: Sendable {
        package var token: UUID
        package var connectedFor: Duration
        package var inFlight: Int
        package var isDraining: Bool
        package var leads: Bool
        package var sweeps: Bool
        package var floors: [(subscription: Int32, floor: Int64)]

        package init(
            token: UUID, connectedFor: Duration, inFlight: Int, isDraining: Bool, leads: Bool, sweeps: Bool,
            floors: [(subscription: Int32, floor: Int64)]
        ) {
            self.token = token
            self.connectedFor = connectedFor
            self.inFlight = inFlight
            self.isDraining = isDraining
            self.leads = leads
            self.sweeps = sweeps
            self.floors = floors
        }
    }

    let connection: Connection

    package init(_ connection: Connection) {
        self.connection = connection
    }

    /// See the function `outrider.beat` for what it answers.
    package func beat(_ vitals: Vitals) throws -> Beat {
        let rows = try connection.query(
            """
            select alive, leads, peers, rescued, ready, stranded, (extract(epoch from due_in) * 1000000)::bigint,
                operations, epoch, clock_timestamp(), unsettled, outrider.limits_digest(),
                leads and outrider.has_backlogs()
            from outrider.beat(\(vitals.token), \(vitals.connectedFor), \(Int32(vitals.inFlight)), \(vitals.isDraining),
                \(vitals.leads), \(vitals.sweeps), \(vitals.floors.map(\.subscription)), \(vitals.floors.map(\.floor)))
            """)
        let row = rows[0]
        return Beat(
            at: try row.decode(9, as: Timestamp.self), isAlive: try row.decode(0, as: Bool.self),
            leads: try row.decode(1, as: Bool.self),
            peers: Int(try row.decode(2, as: Int32.self)), rescued: Int(try row.decode(3, as: Int32.self)),
            ready: try row.decode(4, as: [Int32].self), stranded: try row.decode(5, as: [Int32]?.self) ?? [],
            dueIn: try row.decode(6, as: Int64?.self).map { .microseconds($0) },
            hasOperations: try row.decode(7, as: Bool.self), hasUnsettledSlots: try row.decode(10, as: Bool.self),
            epoch: try row.decode(8, as: String.self), limits: try row.decode(11, as: String.self),
            hasBacklogs: try row.decode(12, as: Bool.self))
    }

    /// Moves what came due into the queue; returns how many rows, at most `most`.
    package func moveDue(most: Int) throws -> Int {
        Int(try connection.query("select outrider.move_due(\(Int32(most)))")[0].decode(0, as: Int32.self))
    }

    /// See the function `outrider.settle_slots`.
    package func settleSlots() throws {
        try connection.query("select outrider.settle_slots()")
    }

    package func makePartitions() throws -> Int {
        Int(try connection.query("select outrider.make_partitions()")[0].decode(0, as: Int32.self))
    }

    /// See the function `outrider.close_partitions`; a transaction of its own, so that what it found is kept.
    package func closePartitions() throws {
        try connection.query("select outrider.close_partitions()")
    }

    /// The partition that was dropped, nil when none has outlived its retention.
    package func dropExpiredPartition() throws -> String? {
        try connection.query("select outrider.drop_expired_partition()")[0].decode(0, as: String?.self)
    }

    /// How many deliveries of removed subscriptions became dead letters.
    package func buryRemoved(most: Int) throws -> Int {
        Int(try connection.query("select outrider.bury_removed(\(Int32(most)))")[0].decode(0, as: Int32.self))
    }

    package func prune(most: Int) throws -> Int {
        Int(try connection.query("select outrider.prune(\(Int32(most)))")[0].decode(0, as: Int32.self))
    }

    // MARK: - Operations

    package func openOperations() throws -> [UUID] {
        try connection.query("select o.id from outrider.operation o where o.finished_at is null order by o.created_at")
            .map { try $0.decode(0, as: UUID.self) }
    }

    /// One bounded step; whether the next can follow at once.
    package func stepOperation(_ operation: UUID, most: Int) throws -> Bool {
        try connection.query("select outrider.operation_step(\(operation), \(Int32(most)))")[0].decode(0, as: Bool.self)
    }

    /// Ends an operation that cannot be carried out.
    package func fail(_ operation: UUID, _ error: String) throws {
        try connection.query("select outrider.operation_failed(\(operation), \(error))")
    }
}
