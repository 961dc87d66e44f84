"""What a verifier is asked, and linear forms carried backward."""
