// swift-tools-version: 6.2
import PackageDescription

// Language mode 6 comes with the tools version. Unknown feature names are ignored in silence by the
// compiler, so `Deploy/lint` checks the spelling of these.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// A module under `Sources/`, with the modules it may import: the list is the architecture, read downward.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

/// A library of Debian, found by pkg-config where it ships a `.pc` file and by the module map's `link` line elsewhere.
func library(_ name: String, pkgConfig: String? = nil, apt: String) -> Target {
    .systemLibrary(name: name, path: "Sources/C/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

let package = Package(
    name: "outrider",
    targets: [
        // C libraries
        library("CLibPQ", pkgConfig: "libpq", apt: "libpq-dev"),
        library("CLibCurl", pkgConfig: "libcurl", apt: "libcurl4-openssl-dev"),
        library("CLibCrypto", pkgConfig: "libcrypto", apt: "libssl-dev"),
        library("CLibYAML", pkgConfig: "yaml-0.1", apt: "libyaml-dev"),
        library("CLibJQ", apt: "libjq-dev"),
        library("CMicroHTTPD", pkgConfig: "libmicrohttpd", apt: "libmicrohttpd-dev"),

        // Base values
        module("Primitives"),
        module("Telemetry", ["Primitives"]),

        // Pure cores: no database, no clock, no thread, no socket
        module("Delivery", ["Primitives"]),
        module("Sagas", ["Primitives", "Delivery", "Expressions"]),
        module("Plans", ["Primitives", "Delivery", "Expressions", "Sagas"]),
        module("Schedules", ["Primitives"]),
        module("WorkflowFiles", ["Primitives", "Delivery", "Expressions", "Sagas", "Schedules", "CLibYAML"]),

        // Sagas played in virtual time, for tests of their authors
        module("Rehearsal", ["Primitives", "Delivery", "Expressions", "Sagas", "WorkflowFiles"]),

        // I/O
        module("Expressions", ["Primitives", "CLibJQ"]),
        module("Postgres", ["Primitives", "CLibPQ"]),
        module("EmbeddedPostgres", ["Primitives"]),
        module("HTTPClient", ["Primitives", "CLibCurl"]),
        module("HTTPServer", ["Primitives", "CMicroHTTPD"]),

        // Store: all SQL
        .target(
            name: "Migrations", path: "Migrations", exclude: ["README.md"],
            resources: [
                .embedInCode("001_outbox.up.sql"), .embedInCode("001_outbox.down.sql"),
                .embedInCode("002_delivery.up.sql"), .embedInCode("002_delivery.down.sql"),
                .embedInCode("003_operators.up.sql"), .embedInCode("003_operators.down.sql"),
                .embedInCode("004_sagas.up.sql"), .embedInCode("004_sagas.down.sql"),
                .embedInCode("005_handlers.up.sql"), .embedInCode("005_handlers.down.sql"),
                .embedInCode("006_keys.up.sql"), .embedInCode("006_keys.down.sql"),
                .embedInCode("008_schedules.up.sql"), .embedInCode("008_schedules.down.sql"),
                .embedInCode("009_limits.up.sql"), .embedInCode("009_limits.down.sql"),
                .embedInCode("010_access.up.sql"), .embedInCode("010_access.down.sql"),
                .embedInCode("007_backpressure.up.sql"), .embedInCode("007_backpressure.down.sql"),
            ],
            swiftSettings: strict),
        module(
            "Store",
            ["Primitives", "Delivery", "Expressions", "Sagas", "Schedules", "WorkflowFiles", "Postgres", "Migrations"]),

        // Engine
        module(
            "Engine",
            [
                "Primitives", "Telemetry", "Delivery", "Sagas", "Schedules", "WorkflowFiles", "Expressions", "Postgres",
                "HTTPClient",
                "Store", "CLibCrypto",
            ]),

        // Edges
        module("Admin", ["Primitives", "Telemetry", "HTTPServer", "Engine", "Store", "Postgres"]),
        module(
            "CommandLineTool",
            [
                "Primitives", "Telemetry", "Delivery", "Sagas", "Plans", "WorkflowFiles", "Rehearsal", "Expressions",
                "Postgres", "EmbeddedPostgres", "HTTPClient", "HTTPServer", "Store", "Engine", "Admin",
            ]),

        // Executables: wiring only
        program("outrider", ["CommandLineTool"]),
        program(
            "outrider-bench",
            ["Primitives", "Postgres", "EmbeddedPostgres", "HTTPClient", "HTTPServer", "Store"]),

        // Tests
        module("TestSupport", ["Primitives", "Postgres", "EmbeddedPostgres", "HTTPServer", "Store"]),
        tests("PrimitivesTests", ["Primitives"]),
        tests("TelemetryTests", ["Telemetry", "TestSupport", "Primitives"]),
        tests("DeliveryTests", ["Delivery", "Primitives"]),
        tests("SagasTests", ["Sagas", "Delivery", "Expressions", "Primitives"]),
        tests("PlansTests", ["Plans", "Sagas", "Delivery", "Expressions", "Primitives"]),
        tests("SchedulesTests", ["Schedules", "TestSupport", "EmbeddedPostgres", "Primitives"]),
        tests("ExpressionsTests", ["Expressions", "Primitives"]),
        tests(
            "WorkflowFilesTests",
            [
                "WorkflowFiles", "Primitives", "Delivery", "Expressions", "Sagas", "Schedules", "TestSupport",
                "EmbeddedPostgres",
            ]),
        tests(
            "RehearsalTests",
            ["Rehearsal", "Sagas", "WorkflowFiles", "Delivery", "Expressions", "TestSupport", "Primitives"]),
        tests("PostgresTests", ["Postgres", "EmbeddedPostgres", "TestSupport", "Primitives"]),
        tests("HTTPTests", ["HTTPClient", "HTTPServer", "TestSupport", "EmbeddedPostgres", "Primitives"]),
        tests(
            "EngineTests",
            ["Engine", "TestSupport", "Store", "HTTPClient", "Delivery", "WorkflowFiles", "Primitives"]),
        tests(
            "StoreTests",
            [
                "Store", "Migrations", "Postgres", "EmbeddedPostgres", "TestSupport", "WorkflowFiles", "Sagas",
                "Delivery",
                "Expressions", "Primitives",
            ]),
        tests(
            "OutriderTests",
            ["outrider", "TestSupport", "Postgres", "HTTPClient", "HTTPServer", "Store", "Primitives"]),
    ]
)
