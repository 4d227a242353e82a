/// One numbered step of the schema, with its SQL embedded in the binary.
package struct Migration: Sendable {
    package let version: Int
    package let name: String
    package let up: String
    package let down: String
    /// Whether it is what handlers need in their own database: it uses nothing of the other steps.
    package let isForHandlers: Bool

    /// A step of a test's own.
    package init(version: Int, name: String, up: String, down: String) {
        self.version = version
        self.name = name
        self.up = up
        self.down = down
        isForHandlers = false
    }

    private init(_ version: Int, _ name: String, up: [UInt8], down: [UInt8], isForHandlers: Bool = false) {
        self.version = version
        self.name = name
        self.up = String(decoding: up, as: UTF8.self)
        self.down = String(decoding: down, as: UTF8.self)
        self.isForHandlers = isForHandlers
    }

    /// All steps in order. The resources' constants are named after the files; a leading digit becomes an underscore.
    package static let all: [Migration] = [
        Migration(1, "outbox", up: PackageResources._01_outbox_up_sql, down: PackageResources._01_outbox_down_sql),
        Migration(
            2, "delivery", up: PackageResources._02_delivery_up_sql, down: PackageResources._02_delivery_down_sql),
        Migration(
            3, "operators", up: PackageResources._03_operators_up_sql, down: PackageResources._03_operators_down_sql),
        Migration(4, "sagas", up: PackageResources._04_sagas_up_sql, down: PackageResources._04_sagas_down_sql),
        Migration(
            5, "handlers", up: PackageResources._05_handlers_up_sql, down: PackageResources._05_handlers_down_sql,
            isForHandlers: true),
        Migration(6, "keys", up: PackageResources._06_keys_up_sql, down: PackageResources._06_keys_down_sql),
        Migration(
            7, "backpressure", up: PackageResources._07_backpressure_up_sql,
            down: PackageResources._07_backpressure_down_sql),
        Migration(
            8, "schedules", up: PackageResources._08_schedules_up_sql, down: PackageResources._08_schedules_down_sql),
        Migration(9, "limits", up: PackageResources._09_limits_up_sql, down: PackageResources._09_limits_down_sql),
        Migration(10, "access", up: PackageResources._10_access_up_sql, down: PackageResources._10_access_down_sql),
    ]
}
