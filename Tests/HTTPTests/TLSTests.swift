import EmbeddedPostgres
import HTTPClient
import TestSupport
import Testing

/// An HTTPS server of openssl, with a certificate for `localhost` that only it has signed.
private final class TLSServer: Sendable {
    let port: String
    private let process: ChildProcess

    init(_ certificate: String, in folder: TemporaryFolder, options: [String] = []) async throws {
        let output = folder.write("", to: "server.out")
        process = try ChildProcess(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www"] + certificateFiles(certificate, in: folder)
                + options,
            output: output, deathSignal: "KILL")
        let process = process
        try await eventually("openssl listens") {
            if process.status != nil { throw NeverHappened(description: Files.text(output) ?? "openssl ended") }
            return Files.text(output)?.contains("ACCEPT 127.0.0.1:") == true
        }
        let line = Files.text(output)?.split(separator: "\n").last { $0.hasPrefix("ACCEPT") }
        port = line?.split(separator: ":").last.map(String.init) ?? ""
    }
}

private func certificateFiles(_ name: String, in folder: TemporaryFolder) -> [String] {
    ["-cert", "\(folder.path)/\(name).pem", "-key", "\(folder.path)/\(name).key"]
}

private func makeCertificate(_ name: String, for host: String, in folder: TemporaryFolder) async throws {
    let (exit, output) = try await Program.run([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=\(host)", "-addext", "subjectAltName=DNS:\(host)", "-keyout", "\(folder.path)/\(name).key",
        "-out", "\(folder.path)/\(name).pem",
    ])
    if exit != .code(0) { throw NeverHappened(description: "openssl made no certificate: \(output)") }
}

struct TLSTests {
    @Test func onlyAServerThatIsTrustedAndHasTheRightNameIsTalkedTo() async throws {
        let folder = TemporaryFolder()
        try await makeCertificate("server", for: "localhost", in: folder)
        let server = try await TLSServer("server", in: folder)
        let caller = HTTPCaller()
        defer { caller.close() }
        func send(host: String, _ tls: TLSOptions?) async -> HTTPExchange {
            await caller.send(HTTPRequest(url: "https://\(host):\(server.port)/", tls: tls))
        }
        let trusting = TLSOptions(authorities: "\(folder.path)/server.pem")

        let untrusted = try await send(host: "localhost", nil).failure
        #expect(untrusted.kind == .notStarted)
        #expect(untrusted.message.contains("self-signed"))

        #expect(try await send(host: "localhost", trusting).response.status == 200)

        let misnamed = try await send(host: "127.0.0.1", trusting).failure
        #expect(misnamed.kind == .notStarted)
        #expect(misnamed.message.contains("127.0.0.1"))

        #expect(try await send(host: "127.0.0.1", TLSOptions(verify: false)).response.status == 200)

        // No trust is left over from the requests before.
        #expect(try await send(host: "localhost", nil).failure.kind == .notStarted)
        #expect(try await send(host: "127.0.0.1", trusting).failure.kind == .notStarted)
    }

    @Test func aMissingFileOfAuthoritiesIsNotStarted() async throws {
        let folder = TemporaryFolder()
        try await makeCertificate("server", for: "localhost", in: folder)
        let server = try await TLSServer("server", in: folder)
        let request = HTTPRequest(
            url: "https://localhost:\(server.port)/", tls: TLSOptions(authorities: "\(folder.path)/missing.pem"))
        let failure = try await send(request).failure
        #expect(failure.kind == .notStarted)
        #expect(failure.message.contains("missing.pem"))
    }

    @Test func theClientCertificateIsShown() async throws {
        let folder = TemporaryFolder()
        try await makeCertificate("server", for: "localhost", in: folder)
        try await makeCertificate("client", for: "worker", in: folder)
        let server = try await TLSServer(
            "server", in: folder,
            options: ["-Verify", "1", "-verify_return_error", "-CAfile", "\(folder.path)/client.pem"])
        let url = "https://localhost:\(server.port)/"
        var tls = TLSOptions(authorities: "\(folder.path)/server.pem")
        // TLS 1.3 lets a client send before it learns that its certificate is missed.
        _ = try await send(HTTPRequest(url: url, tls: tls)).failure
        tls.certificate = "\(folder.path)/client.pem"
        tls.key = "\(folder.path)/client.key"
        #expect(try await send(HTTPRequest(url: url, tls: tls)).response.status == 200)
        tls.key = "\(folder.path)/server.key"
        #expect(try await send(HTTPRequest(url: url, tls: tls)).failure.kind == .notStarted)
    }

    @Test func aHandshakeThatFailsIsNotStarted() async throws {
        let mute = RawServer { _ = $0.socket.rest() }
        let request = HTTPRequest(url: "https://127.0.0.1:\(mute.port)/", connectTimeout: .milliseconds(300))
        let late = try await send(request).failure
        #expect(late.kind == .notStarted)
        #expect(late.message.hasSuffix("no connection within 300 ms"))
        let closing = RawServer { _ in }
        #expect(try await send(HTTPRequest(url: "https://127.0.0.1:\(closing.port)/")).failure.kind == .notStarted)
        let plain = RawServer { $0.send("HTTP/1.1 400 Bad Request\r\n\r\n") }
        #expect(try await send(HTTPRequest(url: "https://127.0.0.1:\(plain.port)/")).failure.kind == .notStarted)
    }
}
