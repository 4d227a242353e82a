import Delivery
import HTTPClient
import Primitives

extension TryOutcome {
    /// What an exchange came to, by the handler protocol's table.
    init(_ result: Result<HTTPResponse, TransportFailure>, policy: RetryPolicy, now: Timestamp) {
        switch result {
        case .success(let response):
            self.init(Answer(response, now: now), policy: policy)
        case .failure(let failure):
            let error = TryError(message: failure.message)
            switch failure.kind {
            case .notStarted, .noResources, .cancelled(sent: false):
                self = .failed(error, happened: .no, retryAfter: nil)
            case .unknown, .cancelled(sent: true): self = .failed(error, happened: .unknown, retryAfter: nil)
            case .tooLarge:
                self = .refused(
                    TryError(type: DeliveryMachine.Reason.outputTooLarge.rawValue, message: failure.message))
            }
        }
    }
}

extension Answer {
    init(_ response: HTTPResponse, now: Timestamp) {
        // A date is meant by the handler's own clock, which its answer tells.
        let now = response.headers["date"].flatMap { Timestamp(httpDate: $0) } ?? now
        var problem: Problem?
        if response.status >= 300 || response.headers["outrider-result"] != nil,
            response.headers["content-type"]?.lowercased().hasPrefix("application/problem+json") == true,
            let body = try? JSON(parsing: response.body)
        {
            problem = Problem(type: body["type"]?.string, title: body["title"]?.string, detail: body["detail"]?.string)
        }
        self.init(
            status: response.status, result: response.headers["outrider-result"]?.lowercased(),
            retryAfter: response.headers["retry-after"].flatMap { Duration(retryAfter: $0, now: now) }, problem: problem
        )
    }
}

extension Duration {
    /// RFC 9110, section 10.2.3: seconds, or a date in the preferred form of section 5.6.7.
    init?(retryAfter text: String, now: Timestamp) {
        if !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
            // What does not fit is longer than anybody waits.
            self = .seconds(min(Int64(text) ?? .max, 86_400 * 365))
        } else if let date = Timestamp(httpDate: text) {
            self = max(.zero, date - now)
        } else {
            return nil
        }
    }
}

extension Timestamp {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    init?(httpDate text: String) {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])) else {
            return nil
        }
        let monthNumber = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        self.init(rfc3339: "\(parts[3])-\(monthNumber)-\(parts[1])T\(parts[4])Z")
    }
}
