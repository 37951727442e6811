"""What makes training fast, small or robust. No lesson builds it."""
