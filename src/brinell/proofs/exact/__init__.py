"""The nearest adversarial input, exactly: of trees and of networks of ReLUs."""
