import HTTPClient

/// What an answer says of a handler's health, whatever it says of the message.
extension HTTPExchange {
    /// Of its endpoint: it fails when it cannot be reached, does not answer, or answers 5xx without an `Outrider-Result`.
    var word: EndpointGate.Word {
        switch result {
        case .success(let response):
            response.status >= 500 && response.headers["outrider-result"] == nil
                ? .fails("HTTP \(response.status)") : .works
        case .failure(let failure):
            switch failure.kind {
            case .notStarted, .unknown: .fails(failure.message)
            case .tooLarge: .works
            case .noResources, .cancelled: .nothing
            }
        }
    }

    /// Of how many requests at once it can take.
    var adaptiveSign: AdaptiveSign {
        switch result {
        case .success(let response):
            switch response.status {
            case 429, 503: .tooMuch
            case 200..<500: .pace
            default: .nothing
            }
        case .failure(let failure):
            switch failure.kind {
            case .notStarted, .unknown: .tooMuch
            case .tooLarge, .noResources, .cancelled: .nothing
            }
        }
    }
}

enum AdaptiveSign: Sendable {
    /// It answered at its pace.
    case pace
    case tooMuch
    case nothing
}
