import Postgres
import TestSupport
import Testing

@testable import Store

struct PlanTests {
    /// As autovacuum leaves them when it comes while the table is empty, or while a publisher's large transaction is open.
    @Test func statisticsOfAnEmptyTableDoNotMakeAResultReadTheQueue() async throws {
        try await TestDatabase.with { database in
            let plan = try await database.run { connection in
                try connection.execute(
                    script: """
                        update pg_class set relpages = 1000, reltuples = 0
                        where oid in ('outrider.delivery'::regclass, 'outrider.delivery_pkey'::regclass);
                        set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off;
                        set enable_mergejoin = off
                        """)
                return try connection.query(
                    """
                    explain delete from outrider.delivery d using unnest('{1}'::int[], '{1}'::bigint[]) t (subscription, id)
                    where \(unsafeSQL: ClaimedDelivery.isRow)
                    """
                ).map { try $0.decode(0, as: String.self) }
            }
            let condition = plan.first { $0.contains("Index Cond") } ?? ""
            #expect(condition.contains("subscription_id = ANY") && condition.contains("id >= t.id"), "\(plan)")
        }
    }
}
