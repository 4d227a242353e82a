import Primitives
import Testing
import WorkflowFiles

struct SecretsTests {
    private func secrets(_ environment: [String: String], _ files: [String: String] = [:]) -> Secrets {
        Secrets(environment: environment) { files[$0].map { Array($0.utf8) } }
    }

    private let token = SecretReference(name: "TOKEN")

    @Test func theEnvironmentComesBeforeTheFolder() throws {
        let files = ["/secrets/TOKEN": "from a file\n"]
        #expect(try secrets(["TOKEN": "a", "OUTRIDER_SECRETS_DIR": "/secrets"], files).resolve(token).value == "a")
        #expect(
            try secrets(["TOKEN": "", "OUTRIDER_SECRETS_DIR": "/secrets"], files).resolve(token).value == "from a file")
    }

    @Test(arguments: [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")])
    func onlyTheLineEndOfAFileIsDropped(content: String, value: String) throws {
        #expect(try secrets(["OUTRIDER_SECRETS_DIR": "/s"], ["/s/TOKEN": content]).resolve(token).value == value)
    }

    @Test func missingSecretSaysWhereItWasLookedFor() {
        let message = "the secret TOKEN was not found; expected an environment variable TOKEN or a file"
        let alone = #expect(throws: Secrets.Missing.self) { try secrets([:]).resolve(token) }
        #expect(alone?.description == "\(message) of that name in OUTRIDER_SECRETS_DIR (not set)")
        let empty = #expect(throws: Secrets.Missing.self) {
            try secrets(["OUTRIDER_SECRETS_DIR": "/s"], ["/s/TOKEN": "\n"]).resolve(token)
        }
        #expect(empty?.description == "\(message) /s/TOKEN")
    }
}
