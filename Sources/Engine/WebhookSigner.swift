internal import CLibCrypto
import Primitives

/// Signs requests as the Standard Webhooks specification 1.0 says: HMAC-SHA256 over `id.timestamp.body`.
struct WebhookSigner: Sendable {
    private let key: [UInt8]

    /// - Parameter secret: base64, with or without the prefix `whsec_`.
    init(secret: Secret) throws(RouteError) {
        let text = secret.value.hasPrefix("whsec_") ? String(secret.value.dropFirst(6)) : secret.value
        guard let key = base64Decoded(text), !key.isEmpty else {
            throw RouteError(description: "its signing secret is not base64; expected whsec_ and the key in base64")
        }
        self.key = key
    }

    /// The three header lines of one request.
    func headers(id: String, at now: Timestamp, body: [UInt8]) -> [String] {
        let timestamp = String(now.microseconds / 1_000_000)
        let signature = base64(hmac(Array("\(id).\(timestamp).".utf8) + body))
        return ["webhook-id: \(id)", "webhook-timestamp: \(timestamp)", "webhook-signature: v1,\(signature)"]
    }

    private func hmac(_ content: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Int(EVP_MAX_MD_SIZE)) { digest, count in
            var length: UInt32 = 0
            HMAC(EVP_sha256(), key, Int32(key.count), content, content.count, digest.baseAddress, &length)
            count = Int(length)
        }
    }
}
